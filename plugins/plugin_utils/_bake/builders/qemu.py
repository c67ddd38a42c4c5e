# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bake by QEMU on this machine: its builder, and the disk that it leaves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....module_utils._packer.result import BuildResult
from ..._core.errors import BakeError
from ..._core.files import write_atomically
from ..._core.progress import Report
from ..._inspection.image import inspect_image
from ..._providers.guest_document import launch_document
from ..._store.file import FileStore
from ..builder import BakeJob, BakeWorkspace
from ..template import ROOT, SSH_TIMEOUT

BUILDER = "qemu"
DISK = "disk.qcow2"


class QemuBuilder:
    """See ``maker.Maker``.

    Args:
        base: the disk that is baked on.
        accelerator: ``kvm`` or ``tcg``.
    """

    plugin = BUILDER
    user = ROOT
    gathers = False

    def __init__(self, order: BakeJob, store: FileStore, base: Path, accelerator: str, report: Report) -> None:
        self._order = order
        self._store = store
        self._base = base
        self._accelerator = accelerator
        self._report = report
        self.facts: Mapping[str, Any] = {"accelerator": accelerator}

    @contextmanager
    def building(self, place: BakeWorkspace) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
        build = self._order.target.build
        files = BakeFiles(
            self._base, place.work / "output", place.memory / "launch.tar", place.private_key, place.console
        )
        public = place.private_key.with_suffix(".pub").read_bytes()
        write_atomically(files.launch, launch_document({"authorized_keys": public, "purpose": b"bake\n"}))
        sha256, cpus = str(self._order.base["sha256"]), min(build.cpus, os.cpu_count() or 1)
        yield qemu_builder(files, base_sha256=sha256, accelerator=self._accelerator, memory=build.memory, cpus=cpus), ()

    def inspect(self, place: BakeWorkspace, _result: BuildResult) -> Mapping[str, bytes]:
        order = self._order
        needles = {
            "the payload's marker": place.marker.encode(),
            **{name: text.encode() for name, text in order.variables.values.items()},
        }
        inspection = inspect_image(place.work / "output" / DISK, place.work, order.digest, needles)
        for name in inspection.not_searched:
            self._report(f"{order.label}: {name} is too short to be searched for in the image")
        if inspection.findings:
            found = "; ".join(inspection.findings[:10])
            message = (
                f"{order.label} left something in the image that must not stay there: {found} (whole log: {place.log})"
            )
            raise BakeError(message, residue=list(inspection.findings), log=str(place.log))
        return {"manifest.json.gz": inspection.manifest.to_gzip(), "sbom.cdx.json": inspection.sbom}

    def keep(self, place: BakeWorkspace, _result: BuildResult) -> Mapping[str, Any]:
        made, disk = (
            place.work / "output" / DISK,
            self._store.path(f"images/{self._order.hex}/{self._order.build}/{DISK}"),
        )
        disk.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _flush(made)
        os.chmod(made, 0o444)
        os.replace(made, disk)
        return {"path": str(disk)}


@dataclass(frozen=True)
class BakeFiles:
    """Everything on this machine that the builder reads or writes."""

    base: Path
    output: Path  # folder that Packer makes; the disk is in it as disk.qcow2
    launch: Path  # what the build machine's launch unit takes over
    private_key: Path
    console: Path


def qemu_builder(files: BakeFiles, *, base_sha256: str, accelerator: str, memory: int, cpus: int) -> dict[str, Any]:
    """Packer's builder as plain data.

    Args:
        accelerator: ``kvm`` or ``tcg``.
        memory: bytes.
    """
    arguments = [
        ["-fw_cfg", f"name=opt/immutable/launch,file={_escaped(files.launch)}"],
        ["-serial", f"file:{files.console}"],
    ]
    # What is given here replaces Packer's own: its forwarding would listen on every address, and nobody looks at its VNC.
    arguments += [["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"], ["-vnc", "none"]]
    if accelerator == "kvm":
        arguments.append(["-cpu", "host"])
    return {
        "type": BUILDER,
        "iso_url": str(files.base),
        "iso_checksum": f"sha256:{base_sha256}",
        "disk_image": True,
        "format": "qcow2",
        "skip_resize_disk": True,
        # The copy of a compact disk stays compact enough; what was freed is given back while the guest runs.
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
        "ssh_username": "root",
        "ssh_private_key_file": str(files.private_key),
        "ssh_timeout": SSH_TIMEOUT,
        # QEMU's user network answers before the guest does, and each such answer counts as an attempt.
        "ssh_handshake_attempts": 100000,
        "shutdown_command": "systemctl poweroff",
        "output_directory": str(files.output),
        "vm_name": "disk.qcow2",
        "qemuargs": arguments,
    }


def _escaped(path: Path) -> str:
    """QEMU separates options by commas; a comma in a value is doubled."""
    return re.sub(",", ",,", str(path))


def _flush(path: Path) -> None:
    """The build machine's disk was allowed to stay in the page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
