# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A user's own Packer template, built only when one of its inputs changed or what it made is gone."""

from __future__ import annotations

import fnmatch
import hashlib
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
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.digest import digest_of
from .._definition.tree import IGNORED
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._store.base import Store
from .base_image import file_sha256
from .builders.ebs import amis_in
from .decide import Decision, decide
from .stages import Stages

BUILD = "packer"
LOG = "packer.log"
# What Packer itself writes beside a template is no input of it.
_MADE = ("packer_cache", "crash.log", "packer-manifest.json", "output-*")


@dataclass(frozen=True)
class TemplateJob:
    """A template and all it depends on; paths are absolute."""

    service: str
    version: str
    template: Path
    vars: Mapping[str, Any] = field(default_factory=dict)
    var_files: tuple[Path, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)  # only their names are inputs
    extra: tuple[Path, ...] = ()  # further files and folders that the template uses

    @property
    def folder(self) -> Path:
        return self.template if self.template.is_dir() else self.template.parent


def template_inputs(order: TemplateJob, made: Sequence[Path] = ()) -> dict[str, Any]:
    """Every input as plain data. ``made`` are files that earlier builds left in the folder. Raises BakeError."""
    if not order.template.exists():
        raise BakeError(f"there is no template {order.template}")
    try:
        return {
            "schema": 1,
            "service": order.service,
            "version": order.version,
            "template": "." if order.template.is_dir() else order.template.name,
            "vars": dict(order.vars),
            "secrets": sorted(order.secrets),
            "var_files": [file_sha256(path) for path in order.var_files],
            "inputs": {path.name: digest_of(_tree(path, ())) for path in order.extra},
            "tree": _tree(order.folder, made),
        }
    except OSError as error:
        raise BakeError(f"an input of {order.template} cannot be read: {error.filename}: {error.strerror}") from error


def _tree(path: Path, made: Sequence[Path]) -> dict[str, Any]:
    files = [path] if path.is_file() else _walk(path)
    return {file.relative_to(path).as_posix(): _entry(file) for file in files if file not in made}


def _walk(folder: Path) -> Iterator[Path]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in (*IGNORED, *_MADE)):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _entry(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        return {"link": os.readlink(path)}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "executable": os.access(path, os.X_OK)}


class TemplateBake:
    """Raises BakeError with Packer's own last error first."""

    def __init__(self, order: TemplateJob, store: Store, packer: Packer, guard: Guard, report: Report) -> None:
        self._order = order
        self._store = store
        self._packer = packer
        self._guard = guard
        self._report = report
        self._before = [image for image in Catalogue(store).list(order.service) if image.build == BUILD]
        made = [Path(file["path"]) for image in self._before for file in _files(image)]
        self.inputs = template_inputs(order, made)
        self.digest = digest_of(self.inputs)

    def decide(self, force: bool) -> tuple[Decision, Image | None]:
        """Whether a build is due, and the image that is there."""
        present = next((image for image in self._before if image.digest == self.digest), None)
        whole = present is not None and not _gone(present)
        decision = decide(self.digest, BUILD, self.inputs, self._before, whole=whole, force=force)
        return decision, None if decision.due else present

    def run(self, timeout: float | None, force: bool = False) -> Image:
        """Build and record, unless another run did so in the meantime."""
        order, digits = self._order, self.digest.removeprefix("sha256:")
        with self._store.lock(
            f"bake-{digits[:12]}-{BUILD}", f"build {order.template.name} for {order.service} {order.version}"
        ) as lock:
            present = Catalogue(self._store).get(self.digest, BUILD)
            if present and not force and not _gone(present):
                return present
            began = time.monotonic()
            log = self._store.local(f"logs/build-{digits[:12]}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.log")
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            result = self._build(timeout, log, lock, replacing=present is not None)
            self._guard.check()
            image = Image(
                digest=self.digest,
                build=BUILD,
                service=order.service,
                version=order.version,
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                artifact={
                    "artifacts": [_recorded(artifact, order.folder) for artifact in result.as_dict()["artifacts"]]
                },
                base={},
                inputs=self.inputs,
                provenance={"packer": result.packer_version, "template": str(order.template)},
                seconds=round(time.monotonic() - began, 1),
            )
            self._store.write_blob(f"{image.key}/{LOG}", log.read_bytes())
            log.unlink()
            Catalogue(self._store).add(image)
            return image

    def _build(self, timeout: float | None, log: Path, lock: Sequence[int], replacing: bool) -> BuildResult:
        order = self._order
        stages = Stages(f"{order.service} {order.version}", self._report)
        try:
            return self._packer.build(
                order.template,
                vars=order.vars,
                var_files=order.var_files,
                secrets=order.secrets,
                force=replacing,
                timeout=timeout,
                on_event=stages.take,
                log_path=log,
                hold=lock,
            )
        except PackerError as error:
            message = f"{stages.failure or error.message} (build of {order.service} {order.version}"
            if not log.exists():  # it did not come as far as that
                raise BakeError(f"{message})") from error
            raise BakeError(f"{message}; the whole log: {log})", log=str(log)) from error


def _recorded(artifact: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    paths = [folder / file for file in artifact["files"]]
    files = [
        {"path": str(path), "size": path.stat().st_size, "sha256": file_sha256(path)}
        for path in paths
        if path.is_file()
    ]
    amis = amis_in(artifact["id"])
    return {**artifact, "files": files, **({"amis": amis} if amis else {})}


def _files(image: Image) -> list[Mapping[str, Any]]:
    return [file for artifact in image.artifact.get("artifacts", ()) for file in artifact["files"]]


def _gone(image: Image) -> list[str]:
    """Recorded files that are not there any more, or not whole."""
    return [
        file["path"]
        for file in _files(image)
        if not os.path.isfile(file["path"]) or os.path.getsize(file["path"]) != file["size"]
    ]
