# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds a user's own Packer template, if one of its inputs changed or its artifact is missing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.result import BuildResult
from ...module_utils._packer.runner import Packer
from ...module_utils._packer.variables import check_variables
from .._core.errors import BakeError, ImmutableError
from .._core.files import file_sha256, make_private_folder
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.digest import digest_of
from .._image_model import LOG_FILE, Image, digest_hex, files_of
from .._images.catalogue import Catalogue
from .._store.base import Store
from .._store.registry import check_apart
from .builders.registry import artifact_details
from .decide import Decision, decide
from .earlier_artifacts import EarlierArtifacts
from .heartbeat import heartbeat
from .stages import StageReporter, times_of
from .template_inputs import BuildOutputs, TemplateFiles, TemplateJob, Tree, template_inputs
from .written_files import WrittenFiles

BUILD = "packer"
_MAX_NAMED = 5  # files in a line of progress


class TemplateBake:
    """The build of one template. Methods raise BakeError with Packer's own last error first.

    Attributes:
        inputs: every input as plain data.
        digest: ``sha256:<hex>`` of the inputs.
    """

    def __init__(self, job: TemplateJob, store: Store, *, packer: Packer, guard: Guard, report: Report) -> None:
        try:
            check_variables(str(job.template), job.vars, job.secrets)
        except PackerError as error:
            raise BakeError(error.message) from error
        self._job = job
        self._store = store
        self._packer = packer
        self._guard = guard
        self._report = report
        check_apart(store, (job.folder, *job.extra))
        # Templates of other services may be in the same folder.
        images = [image for image in Catalogue(store).list() if image.build == BUILD]
        self._earlier = [image for image in images if image.service == job.service]
        self._written = WrittenFiles(job, store)
        outputs = BuildOutputs(
            artifacts=frozenset(Path(file["path"]) for image in images for file in image.files),
            written=self._written.read(),
        )
        self._files = TemplateFiles(job, outputs)
        self._trees = self._files.trees()
        self._earlier_artifacts = EarlierArtifacts(job, store, images, self._files.was_written)
        self._took: dict[str, Any] = {}  # the times of the last build's stages, for its record
        self.inputs = template_inputs(job, self._trees)
        self.digest = digest_of(self.inputs)

    def decide(self, force: bool) -> tuple[Decision, Image | None]:
        """Return whether a build is due, and the existing image if not."""
        existing = next((image for image in self._earlier if image.digest == self.digest), None)
        decision = decide(
            digest=self.digest,
            build=BUILD,
            inputs=self.inputs,
            images=self._earlier,
            intact=existing is not None and _is_intact(existing),
            force=force,
        )
        return decision, None if decision.due else existing

    def run(self, timeout: float | None, force: bool = False) -> Image:
        """Build and record the image, unless another run has done so in the meantime.

        Args:
            timeout: seconds.
        """
        job, digits = self._job, digest_hex(self.digest)[:12]
        purpose = f"build {job.template.name} for {job.service} {job.version}"
        with self._store.lock(f"bake-{digits}-{BUILD}", purpose) as lock:
            existing = Catalogue(self._store).get(self.digest, BUILD)
            if existing and not force and _is_intact(existing):
                return existing
            started = time.monotonic()
            log = self._store.local_path(f"logs/build-{digits}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.log")
            make_private_folder(log.parent)
            with self._earlier_artifacts.building():
                self._earlier_artifacts.move_away()
                before = self._files.on_disk()
                try:
                    result = self._build(timeout, log, lock, force=self._may_force(force, existing))
                except BakeError:
                    with contextlib.suppress(ImmutableError, OSError):  # Packer's error says more
                        self._earlier_artifacts.move_back()
                        self._note_written(before, [])
                    raise
                self._guard.check()
                artifacts = [_record(artifact, job.folder) for artifact in result.as_dict()["artifacts"]]
                self._note_written(before, artifacts)
                image = self._image(artifacts, result, seconds=round(time.monotonic() - started, 1))
                self._store.write_blob(f"{image.key}/{LOG_FILE}", log.read_bytes())
                log.unlink()
                Catalogue(self._store).add(image)
                if self._earlier_artifacts.move_back(image):
                    self._note_written(before, artifacts)
            return image

    def _may_force(self, force: bool, existing: Image | None) -> bool:
        """Whether Packer may replace what is in its way.

        That includes an AMI of the same name, which an image of the service may need. Files were moved away.
        """
        elsewhere = [image for image in self._earlier if image.digest != self.digest and _is_elsewhere(image)]
        return existing is not None or (force and not elsewhere)

    def _note_written(self, before: Tree, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Remember what the build wrote beside its artifacts, so that none of it is an input of the next run."""
        made = _paths(artifacts)
        after = {path: entry for path, entry in self._files.on_disk().items() if Path(path) not in made}
        written = self._written.update(before, after)
        if written:
            more = f" and {len(written) - _MAX_NAMED} more" if len(written) > _MAX_NAMED else ""
            self._report(
                f"{self._job.service} {self._job.version}: files that changed during the build are not inputs unless "
                f"you change them: {', '.join(written[:_MAX_NAMED])}{more}"
            )

    def _image(self, artifacts: list[dict[str, Any]], result: BuildResult, *, seconds: float) -> Image:
        """The record of a build. A file of a run without this collection may turn out to be an artifact."""
        job = self._job
        inputs = template_inputs(job, self._trees.without(job, _paths(artifacts)))
        return Image(
            digest=digest_of(inputs),
            build=BUILD,
            service=job.service,
            version=job.version,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            artifact={"artifacts": artifacts},
            base={},
            inputs=inputs,
            provenance={"packer": result.packer_version, "template": str(job.template), **self._took},
            seconds=seconds,
        )

    def _build(self, timeout: float | None, log: Path, lock: Sequence[int], *, force: bool) -> BuildResult:
        job = self._job
        expected = times_of(next(iter(self._earlier), None))
        stages = StageReporter(f"{job.service} {job.version}", self._report, expected=expected)
        try:
            with heartbeat(stages.sign_of_life):
                result = self._packer.build(
                    job.template,
                    vars=job.vars,
                    var_files=job.var_files,
                    secrets=job.secrets,
                    force=force,
                    timeout=timeout,
                    on_event=stages.handle,
                    log_path=log,
                    hold=lock,
                )
            took = stages.record()
            self._took = {"stages": took} if took else {}
            return result
        except PackerError as error:
            message = f"{stages.failure or error.message} (build of {job.service} {job.version}"
            if not log.exists():  # Packer was not started
                raise BakeError(f"{message})") from error
            raise BakeError(f"{message}; complete log: {log})", log=str(log)) from error


def _record(artifact: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One artifact of Packer for the image's record, with the size and checksum of each file."""
    paths = [folder / file for file in artifact["files"]]
    files = [
        {"path": str(path), "size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in paths
        if path.is_file()
    ]
    return {**artifact, "files": files, **artifact_details(artifact["id"])}


def _paths(artifacts: Sequence[Mapping[str, Any]]) -> frozenset[Path]:
    return frozenset(Path(file["path"]) for file in files_of(artifacts))


def _is_elsewhere(image: Image) -> bool:
    """Whether an artifact is no file of this machine, such as an AMI."""
    return any(not artifact["files"] for artifact in image.artifact.get("artifacts", ()))


def _is_intact(image: Image) -> bool:
    """Whether all recorded files exist with their recorded size."""
    return all(os.path.isfile(file["path"]) and os.path.getsize(file["path"]) == file["size"] for file in image.files)
