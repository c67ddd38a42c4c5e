# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command that runs a machine: its devices, and the files behind them as open descriptors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._core.qcow2 import qcow2_node
from ..confinement import QEMU
from ..guest_network import netdev
from ..machine_document import LAUNCH, NEXT_LAUNCH
from ..root_state import REQUESTED
from .console import CONSOLE, PORT, PORT_NAME
from .process import QMP_SOCKET, PassedFiles

BLANK = "blank"  # which volumes of the slot are new


@dataclass(frozen=True)
class Disk:
    """A data volume as the machine sees it. The guest finds it by its serial number."""

    path: Path
    serial: str
    format: str = "qcow2"  # or "raw"

    @property
    def node(self) -> str:
        return f"data-{self.serial}"

    def blockdev(self, filename: str) -> dict[str, Any]:
        """QEMU's node for it. ``filename``: the name by which QEMU opens it."""
        # The guest writes to a volume, and another file that its header names must never be opened.
        chain = {"backing": None} if self.format == "qcow2" else {}
        file = {"driver": "file", "filename": filename}
        return {"driver": self.format, "node-name": self.node, **chain, "file": file}

    @property
    def id(self) -> str:
        return f"disk-{self.serial}"

    def device(self) -> dict[str, Any]:
        return {"driver": "virtio-blk-pci", "id": self.id, "drive": self.node, "serial": self.serial}


def _launch_of(folder: Path, facts: Mapping[str, Any]) -> str:
    following = facts.get("root_change") == REQUESTED and (folder / NEXT_LAUNCH).exists()
    return NEXT_LAUNCH if following else LAUNCH


def qemu_command(
    folder: Path, facts: Mapping[str, Any], disks: Sequence[Disk], *, files: PassedFiles, options: Sequence[str]
) -> list[str]:
    """Return the command. Raises ProviderError for a file that cannot be opened.

    Args:
        facts: the machine's document.
        files: opens the files of the machine.
        options: QEMU's options for how it runs the guest, and with which rights.
    """
    ports = {str(host): str(guest) for guest, host in facts["endpoints"].items()}
    root = qcow2_node(files.disk(Path(facts["disk"]), writable=False), "root")
    argv = [QEMU, "-name", f"guest={folder.name}", "-nodefaults", "-no-user-config", "-machine", "pc", *options]
    argv += ["-m", f"{facts['memory'] // 1024**2}", "-smp", str(facts["cpus"]), "-display", "none", "-no-reboot"]
    argv += ["-chardev", f"socket,id=qmp,fd={files.listener(folder / QMP_SOCKET)},server=on,wait=off"]
    argv += ["-mon", "chardev=qmp,mode=control"]
    argv += ["-chardev", f"file,id=console,path={files.output(folder / CONSOLE)}", "-serial", "chardev:console"]
    argv += ["-fw_cfg", f"name=opt/immutable/launch,file={files.content(folder / _launch_of(folder, facts))}"]
    argv += ["-device", "virtio-rng-pci"]
    argv += ["-netdev", netdev("net", ports, facts.get("reach", {}), restrict=True)]
    argv += ["-device", "virtio-net-pci,netdev=net"]
    argv += ["-blockdev", json.dumps(root), "-device", "virtio-blk-pci,drive=root,bootindex=1"]
    for disk in disks:
        node = disk.blockdev(files.disk(disk.path, writable=True))
        argv += ["-blockdev", json.dumps(node), "-device", json.dumps(disk.device())]
    # Last, so that the other devices keep their addresses.
    argv += ["-chardev", f"file,id=evidence,path={files.output(folder / PORT)}", "-device", "virtio-serial-pci"]
    argv += ["-device", f"virtserialport,chardev=evidence,name={PORT_NAME}"]
    if (folder / BLANK).exists():
        argv += ["-fw_cfg", f"name=opt/immutable/blank,file={files.content(folder / BLANK)}"]
    return [*argv, *files.options]
