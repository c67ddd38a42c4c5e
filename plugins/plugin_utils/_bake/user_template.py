# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds a user's own Packer template, if one of its inputs changed or its artifact is missing."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.result import BuildResult
from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError
from .._core.files import file_sha256, make_private_folder
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.digest import digest_of
from .._definition.ignore import IGNORED
from .._image_model import LOG_FILE, Image, digest_hex
from .._images.catalogue import Catalogue
from .._store.base import Store
from .builders.registry import artifact_details
from .decide import Decision, decide
from .stages import StageReporter

BUILD = "packer"
# What Packer writes next to a template is not an input.
_PACKER_OUTPUT = ("packer_cache", "crash.log", "packer-manifest.json", "output-*")


@dataclass(frozen=True)
class TemplateJob:
    """A template and its inputs. Paths are absolute.

    Attributes:
        template: a file or folder.
        vars: variables (JSON data) by name.
        secrets: variables by name. Only the names are inputs.
        extra: further files and folders that the template uses.
    """

    service: str
    version: str
    template: Path
    vars: Mapping[str, Any] = field(default_factory=dict)
    var_files: tuple[Path, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the template."""
        return self.template if self.template.is_dir() else self.template.parent


def template_inputs(job: TemplateJob, artifacts: Sequence[Path] = ()) -> dict[str, Any]:
    """Return every input as plain data.

    Args:
        artifacts: files of earlier builds, which are not inputs.

    Raises BakeError for a file that is missing or cannot be read.
    """
    if not job.template.exists():
        raise BakeError(f"the template {job.template} does not exist")
    try:
        return {
            "schema": 1,
            "service": job.service,
            "version": job.version,
            "template": "." if job.template.is_dir() else job.template.name,
            "vars": dict(job.vars),
            "secrets": sorted(job.secrets),
            "var_files": [file_sha256(path) for path in job.var_files],
            "inputs": {path.name: digest_of(_tree(path, ())) for path in job.extra},
            "tree": _tree(job.folder, artifacts),
        }
    except OSError as error:
        raise BakeError(f"cannot read an input of {job.template}: {error.filename}: {error.strerror}") from error


def _tree(path: Path, artifacts: Sequence[Path]) -> dict[str, Any]:
    files = [path] if path.is_file() else _walk(path)
    return {file.relative_to(path).as_posix(): _entry(file) for file in files if file not in artifacts}


def _walk(folder: Path) -> Iterator[Path]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in (*IGNORED, *_PACKER_OUTPUT)):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _entry(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        return {"link": os.readlink(path)}
    return {"sha256": file_sha256(path), "executable": os.access(path, os.X_OK)}


class TemplateBake:
    """The build of one template. Methods raise BakeError with Packer's own last error first.

    Attributes:
        inputs: every input as plain data.
        digest: ``sha256:<hex>`` of the inputs.
    """

    def __init__(self, job: TemplateJob, store: Store, *, packer: Packer, guard: Guard, report: Report) -> None:
        self._job = job
        self._store = store
        self._packer = packer
        self._guard = guard
        self._report = report
        self._earlier = [image for image in Catalogue(store).list(job.service) if image.build == BUILD]
        artifacts = [Path(file["path"]) for image in self._earlier for file in _files(image)]
        self.inputs = template_inputs(job, artifacts)
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
            result = self._build(timeout, log, lock, replaces=existing is not None)
            self._guard.check()
            artifacts = [_record(artifact, job.folder) for artifact in result.as_dict()["artifacts"]]
            image = Image(
                digest=self.digest,
                build=BUILD,
                service=job.service,
                version=job.version,
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                artifact={"artifacts": artifacts},
                base={},
                inputs=self.inputs,
                provenance={"packer": result.packer_version, "template": str(job.template)},
                seconds=round(time.monotonic() - started, 1),
            )
            self._store.write_blob(f"{image.key}/{LOG_FILE}", log.read_bytes())
            log.unlink()
            Catalogue(self._store).add(image)
            return image

    def _build(self, timeout: float | None, log: Path, lock: Sequence[int], *, replaces: bool) -> BuildResult:
        job = self._job
        stages = StageReporter(f"{job.service} {job.version}", self._report)
        try:
            return self._packer.build(
                job.template,
                vars=job.vars,
                var_files=job.var_files,
                secrets=job.secrets,
                force=replaces,
                timeout=timeout,
                on_event=stages.handle,
                log_path=log,
                hold=lock,
            )
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


def _files(image: Image) -> list[Mapping[str, Any]]:
    return [file for artifact in image.artifact.get("artifacts", ()) for file in artifact["files"]]


def _is_intact(image: Image) -> bool:
    """Whether all recorded files exist with their recorded size."""
    return all(os.path.isfile(file["path"]) and os.path.getsize(file["path"]) == file["size"] for file in _files(image))
