# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes images of containers on this machine with Packer's docker builder, on podman or docker.

Packer runs a program named ``docker`` that calls the target's engine. The engine exports the root file system, from
which this collection writes the image itself: its configuration and its history hold nothing of the bake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....module_utils._packer.result import BuildResult
from ....module_utils._packer.runner import Packer
from ....module_utils._seal_container import FACTS_PATH, ContainerFacts, parse_facts
from ..._core.errors import BakeError
from ..._core.files import make_private_folder
from ..._core.programs import find_program
from ..._core.progress import Report
from ..._definition.capabilities import granted_capabilities
from ..._definition.model import Target
from ..._image_model import bake_name, image_key
from ..._inspection.image import inspect_archive
from ..._inspection.layer import LayerFiles
from ..._providers.container_data import artifact_data
from ..._providers.container_engine import PODMAN, ContainerEngine, open_engine
from ..._providers.container_images import ARCHIVE
from ..._store.base import Store
from ..._store.file import FileStore
from ..._store.registry import folder_store
from ..builder import BakeJob, BakeWorkspace, PackerBuilder
from ..image_archive import ImageConfig, read_exported, write_image_archive
from ..residue import inspected_files, residue_needles
from ..template import CONTAINER_SHARED, GUEST_MEMORY, ROOT
from .base_container import NAME, LoadedBase, load_base, resolve_container_base
from .container_leftovers import (
    BAKE_LABEL,
    GUEST_FOLDER,
    STORE_LABEL,
    identity,
    remove_build_containers,
    remove_guest_folder,
    remove_guest_folders,
)

BUILDER = "docker"
PROVIDER = "container"
_NEEDS_FOLDER = "a bake for the provider container keeps its images and bases in the store"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IDLE = 'trap "exit 0" TERM; while :; do sleep 3600 & wait "$!"; done'  # and waits for processes without a parent


def resolve_base(target: Target, store: Store, folder: Path) -> dict[str, Any] | None:
    """Return the target's root file system, or None if it is not built yet; see ``resolve_container_base``."""
    return resolve_container_base(target.base, store, folder)


def check_store(target: Target, store: Store) -> None:
    """Raise StoreError if the target's provider needs the image's archive in a folder and the store is not one."""
    if target.provider == PROVIDER:
        folder_store(store, _NEEDS_FOLDER)


def open_builder(job: BakeJob, store: Store, _packer: Packer, report: Report) -> ContainerBuilder:
    """Return the builder for one bake, after importing the base into the engine.

    Raises BakeError if the base is missing, ProviderError if the engine does not work, StoreError if the store is not a
    folder.
    """
    files = folder_store(store, _NEEDS_FOLDER)
    engine = open_engine(job.target.engine, files.path(PROVIDER))
    for line in engine.runtime_warnings():
        report(f"{job.label}: {line}")
    if job.target.reach:
        report(
            f"{job.label}: reach does not apply to a build container, which reaches other machines by their own names "
            "and addresses"
        )
    own = bake_name(job.digest)
    remove_build_containers(engine, store, own)
    base = load_base(
        engine,
        job.target.base,
        store,
        sha256=str(job.base["sha256"]),
        folder=job.definition.folder,
        report=report,
    )
    remove_guest_folders(engine, base.image, store, own)
    return ContainerBuilder(job, files, engine=engine, base=base, report=report)


class ContainerBuilder:
    """See ``Builder``.

    Args:
        base: the image to bake on.
    """

    plugin = BUILDER
    user = ROOT
    collects_sbom_sources = False

    def __init__(
        self, job: BakeJob, store: FileStore, *, engine: ContainerEngine, base: LoadedBase, report: Report
    ) -> None:
        self._job = job
        self._store = store
        self._engine = engine
        self._base = base
        self._report = report
        self._artifact: dict[str, Any] = {}
        self.provenance: Mapping[str, Any] = {"engine": engine.name}

    @contextmanager
    def prepared(self, workspace: BakeWorkspace) -> Iterator[PackerBuilder]:
        """Write the program ``docker`` for Packer. The build container is removed at the end. See ``Builder``."""
        name = f"immutable-{bake_name(self._job.digest)}-{identity(self._store)}"
        guest, shared = workspace.memory / GUEST_FOLDER, workspace.memory / "shared"
        for folder in (guest, shared):
            folder.mkdir(mode=0o700)
        guest.chmod(0o1777)  # as it is in each container; no other user of this machine can enter the folder above it
        program = self._engine.docker_program(workspace.folder / "bin")
        labels = {BAKE_LABEL: bake_name(self._job.digest), STORE_LABEL: identity(self._store)}
        try:
            yield PackerBuilder(
                builder_settings(
                    image=f"{NAME}:{str(self._job.base['sha256'])[:24]}",
                    export=workspace.folder / "root.tar",
                    run=run_arguments(
                        self._engine.name, name=name, labels=labels, guest=guest, network=network(self._engine.name)
                    ),
                ),
                environment={
                    "PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", os.defpath)]),
                    "PACKER_TMP_DIR": str(shared),
                },
                container=True,
            )
        finally:
            self._engine.run("rm", "--force", "--volumes", name, check=False)
            remove_guest_folder(self._engine, self._base.image, guest)

    def inspect(self, workspace: BakeWorkspace, _result: BuildResult) -> Mapping[str, bytes]:
        """Write the image's archive and inspect it. Returns the manifest and the SBOM.

        Raises BakeError if the image contains residue or the seal did not record what it needs.
        """
        job, archive = self._job, workspace.folder / ARCHIVE
        export = workspace.folder / "root.tar"
        facts = _exported_facts(export, job)
        image = write_image_archive(export, archive, self._config(facts))
        export.unlink()
        inspection, layer = inspect_archive(archive, job.digest, residue_needles(job, workspace))
        files = inspected_files(inspection, job, workspace, self._report)
        volumes = [(each.name, each.mount, each.noexec, each.reown) for each in job.definition.data]
        data = artifact_data(volumes, inspection.manifest.files)
        self._artifact = {
            "image": image,
            "init": facts.init,
            "writable": [dict(each) for each in facts.as_dict()["writable"]],
            "stop_signal": facts.stop_signal,
            "capabilities": list(granted_capabilities(job.definition.command, job.definition.capabilities)),
            **({"data": data} if data else {}),
        }
        _check_folders(layer, facts, job)
        return files

    def save(self, workspace: BakeWorkspace, _result: BuildResult) -> Mapping[str, Any]:
        """Move the archive into the store. Returns the artifact, with ``path``, ``image`` and how to run it."""
        archive = self._store.path(f"{image_key(self._job.digest, self._job.build)}/{ARCHIVE}")
        make_private_folder(archive.parent)
        source = workspace.folder / ARCHIVE
        os.chmod(source, 0o444)
        os.replace(source, archive)
        return {"path": str(archive), **self._artifact}

    def _config(self, facts: ContainerFacts) -> ImageConfig:
        job = self._job
        environment = self._base.environment
        return ImageConfig(
            command=facts.command,
            stop_signal=facts.stop_signal,
            user=facts.user,
            environment=environment if any(line.startswith("PATH=") for line in environment) else (*environment, _PATH),
            labels={
                "immutable.digest": job.digest,
                "immutable.service": job.definition.service,
                "immutable.version": job.definition.version,
            },
        )


def builder_settings(*, image: str, export: Path, run: Sequence[str]) -> dict[str, Any]:
    """Return Packer's builder as plain data.

    Args:
        image: the base in the engine.
        export: the file for the root file system.
        run: arguments of ``docker run``, in which Packer replaces ``{{.Image}}``.
    """
    return {
        "type": BUILDER,
        "image": image,
        "pull": False,
        "export_path": str(export),
        "run_command": list(run),
        "container_dir": CONTAINER_SHARED,
        "fix_upload_owner": False,  # everything runs as root
    }


def run_arguments(
    engine: str, *, name: str, labels: Mapping[str, str], guest: Path, network: Sequence[str]
) -> list[str]:
    """Return the arguments that start the build container.

    Args:
        guest: a private folder in memory. Packer uploads the payload to it, and it never is a part of the image.
    """
    podman = ["--http-proxy=false", "--image-volume=ignore"] if engine == PODMAN else []
    return [
        "--detach",
        "--pull=never",
        f"--name={name}",
        *(f"--label={key}={value}" for key, value in sorted(labels.items())),
        "--user=0:0",
        "--workdir=/",
        "--hostname=localhost",
        "--no-healthcheck",
        "--env=SYSTEMD_OFFLINE=1",
        "--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777",
        "--tmpfs=/run:rw,exec,nosuid,nodev,mode=0755",
        f"--mount=type=bind,source={guest},destination={GUEST_MEMORY}",
        *network,
        *podman,
        "--entrypoint=/bin/sh",
        "{{.Image}}",
        "-c",
        _IDLE,
    ]


def network(engine: str) -> list[str]:
    """Return the arguments for a network that reaches mirrors of packages, but not the services of this machine."""
    if engine == PODMAN and find_program("slirp4netns"):
        return ["--network=slirp4netns:allow_host_loopback=false"]
    return []


def _exported_facts(export: Path, job: BakeJob) -> ContainerFacts:
    """What the seal recorded for the engine. Raises BakeError."""
    content = read_exported(export, FACTS_PATH)
    if content is None:
        raise BakeError(f"{job.label}: the seal did not write {FACTS_PATH} in the image")
    try:
        return parse_facts(content.decode())
    except ValueError as error:
        raise BakeError(f"{job.label}: {FACTS_PATH} of the image is damaged: {error}") from error


def _check_folders(files: LayerFiles, facts: ContainerFacts, job: BakeJob) -> None:
    """Raise BakeError if a folder is missing that the engine mounts something on: it cannot create it in the image."""
    for mount in facts.writable:
        inside_run = mount.path.startswith("/run/")
        if not inside_run and mount.path not in files.entries:
            raise BakeError(f"{job.label}: the image has no folder {mount.path}, where memory is mounted")
