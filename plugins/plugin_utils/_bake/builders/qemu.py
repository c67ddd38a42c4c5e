# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes on this machine with Packer's qemu builder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ....module_utils._packer.result import BuildResult
from ....module_utils._packer.runner import Packer
from ..._core.files import make_private_folder, write_atomically
from ..._core.progress import Report
from ..._core.unprivileged import python_for_others, user_for
from ..._definition.model import Target
from ..._image_model import image_key
from ..._inspection.image import inspect_image
from ..._providers.accel import choose
from ..._providers.confinement import confinement_warnings, giving_up_root
from ..._providers.frame_filter import FrameFilter
from ..._providers.guest_document import launch_document
from ..._providers.guest_network import check_reach, escaped, guest_addresses, netdev, passes
from ..._store.base import Store
from ..._store.file import FileStore
from ..._store.registry import folder_store
from ..builder import BakeJob, BakeWorkspace, PackerBuilder
from ..residue import inspected_files, residue_needles
from ..template import ROOT, SSH_TIMEOUT
from .base_disk import DISK, open_base, resolve_disk

BUILDER = "qemu"
NETDEV = "user.0"  # Packer's name for it; the option replaces Packer's, whose forwarding listens on every address
PROVIDER = "qemu"
_NEEDS_FOLDER = "a bake for the provider qemu keeps its disks and bases in the store"


def resolve_base(target: Target, store: Store, folder: Path) -> dict[str, Any] | None:
    """Return the target's disk, or None if it is not built yet; see ``resolve_disk``."""
    return resolve_disk(target.base, store, folder)


def check_store(target: Target, store: Store) -> None:
    """Raise StoreError if the target's provider needs the image's disk in a folder and the store is not one."""
    if target.provider == PROVIDER:
        folder_store(store, _NEEDS_FOLDER)


def open_builder(job: BakeJob, store: Store, _packer: Packer, report: Report) -> QemuBuilder:
    """Return the builder for one bake, after fetching the base.

    Raises BakeError if the base is missing, ProviderError if QEMU is missing, StoreError if the store is not a folder.
    """
    base = open_base(job.target.base, store, job.definition.folder, report)
    accel = choose(store.local_path("qemu"), base)
    for line in (accel.reason, *confinement_warnings()):
        report(f"{job.label}: {line}")
    return QemuBuilder(job, folder_store(store, _NEEDS_FOLDER), base=base, accelerator=accel.name, report=report)


class QemuBuilder:
    """See ``Builder``.

    Args:
        base: the disk to bake on.
        accelerator: ``kvm`` or ``tcg``.
    """

    plugin = BUILDER
    user = ROOT
    collects_sbom_sources = False

    def __init__(self, job: BakeJob, store: FileStore, *, base: Path, accelerator: str, report: Report) -> None:
        self._job = job
        self._store = store
        self._base = base
        self._accelerator = accelerator
        self._report = report
        self.provenance: Mapping[str, Any] = {"accelerator": accelerator}

    @contextmanager
    def prepared(self, workspace: BakeWorkspace) -> Iterator[PackerBuilder]:
        """Write the launch document that lets Packer log in, and filter the machine's network. See ``Builder``.

        Raises ProviderError for a declared address that is the controller's loopback.
        """
        build = self._job.target.build
        files = BakeFiles(
            base=self._base,
            output=workspace.folder / "output",
            launch=workspace.memory / "launch.tar",
            private_key=workspace.private_key,
            console=workspace.console,
        )
        public = workspace.private_key.with_suffix(".pub").read_bytes()
        write_atomically(files.launch, launch_document({"authorized_keys": public, "purpose": b"bake\n"}))
        reach = self._job.target.reach
        check_reach(reach)
        filtered = FrameFilter(workspace.memory, partial(passes, reach=guest_addresses(reach)))
        with filtered.running():
            network = netdev(NETDEV, {"{{ .SSHHostPort }}": "22"}, reach, restrict=False)
            yield PackerBuilder(
                builder_settings(
                    files,
                    base_sha256=str(self._job.base["sha256"]),
                    accelerator=self._accelerator,
                    memory=build.memory,
                    cpus=min(build.cpus, os.cpu_count() or 1),
                    network=[["-netdev", network], *filtered.options(NETDEV)],
                    rights=_rights(workspace.folder, spawns=bool(reach)),
                )
            )

    def inspect(self, workspace: BakeWorkspace, _result: BuildResult) -> Mapping[str, bytes]:
        """Return the manifest and the SBOM. Raises BakeError if the image contains residue."""
        job = self._job
        disk = workspace.folder / "output" / DISK
        inspection = inspect_image(disk, workspace.folder, job.digest, residue_needles(job, workspace))
        return inspected_files(inspection, job, workspace, self._report)

    def save(self, workspace: BakeWorkspace, _result: BuildResult) -> Mapping[str, Any]:
        """Move the disk into the store. Returns ``{"path"}``."""
        source = workspace.folder / "output" / DISK
        disk = self._store.path(f"{image_key(self._job.digest, self._job.build)}/{DISK}")
        make_private_folder(disk.parent)
        _flush(source)
        os.chmod(source, 0o444)
        os.replace(source, disk)
        return {"path": str(disk)}


@dataclass(frozen=True)
class BakeFiles:
    """The files on this machine that the builder reads or writes.

    Attributes:
        output: a folder that Packer creates; the disk is in it.
        launch: the launch document of the build machine.
    """

    base: Path
    output: Path
    launch: Path
    private_key: Path
    console: Path


def builder_settings(
    files: BakeFiles,
    *,
    base_sha256: str,
    accelerator: str,
    memory: int,
    cpus: int,
    network: Sequence[Sequence[str]],
    rights: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """Return Packer's builder as plain data.

    Args:
        accelerator: ``kvm`` or ``tcg``.
        memory: bytes.
        network: QEMU's options for it, as pairs.
        rights: QEMU's options for what it may do, as pairs.
    """
    arguments = [
        ["-fw_cfg", f"name=opt/immutable/launch,file={escaped(files.launch)}"],
        ["-serial", f"file:{files.console}"],
    ]
    arguments += [list(pair) for pair in (*network, *rights)]
    arguments.append(["-vnc", "none"])  # instead of Packer's own, which no one uses
    if accelerator == "kvm":
        arguments.append(["-cpu", "host"])
    return {
        "type": BUILDER,
        "iso_url": str(files.base),
        "iso_checksum": f"sha256:{base_sha256}",
        "disk_image": True,
        "format": "qcow2",
        "skip_resize_disk": True,
        # A copy of a compact disk stays compact enough, because freed blocks are discarded while the guest runs.
        "skip_compaction": True,
        "disk_discard": "unmap",
        "disk_cache": "unsafe",
        "disk_interface": "virtio",
        "net_device": "virtio-net",
        "accelerator": accelerator,
        "memory": memory // 1024**2,
        "cpus": cpus,
        "headless": True,
        "disable_vnc": True,
        "boot_wait": "1s",
        "ssh_username": ROOT,
        "ssh_private_key_file": str(files.private_key),
        "ssh_timeout": SSH_TIMEOUT,
        "ssh_disable_agent_forwarding": True,  # Packer would give the build machine the operator's SSH agent
        # QEMU's user network accepts connections before the guest does, and each of them counts as an attempt.
        "ssh_handshake_attempts": 100000,
        "shutdown_command": "systemctl poweroff",
        "output_directory": str(files.output),
        "vm_name": DISK,
        "qemuargs": arguments,
    }


def _rights(folder: Path, *, spawns: bool) -> list[list[str]]:
    """QEMU's options for what it may do, as pairs. Packer starts it, so it gives up root by itself.

    Args:
        folder: of the bake.
        spawns: whether it starts a program for each connection to a declared address.
    """
    user = user_for(folder) if python_for_others() or not spawns else None
    options = giving_up_root(user, spawns=spawns)
    return [options[at : at + 2] for at in range(0, len(options), 2)]


def _flush(path: Path) -> None:
    """Write the disk's pages to the device. The builder's cache mode leaves them in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
