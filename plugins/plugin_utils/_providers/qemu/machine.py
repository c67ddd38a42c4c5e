# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One virtual machine in one folder: ``machine.json`` describes it, QEMU's pid file and sockets are next to it.

QEMU runs in its own session, so that a machine outlives the run that started it. The machines of a verification do not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..._core.files import remove_documented, write_atomically
from ..._core.processes import process_start
from ..._core.qcow2 import named_file
from ..accel import Accel
from ..confinement import rights_for
from ..contract import USED_FOR, VERIFY
from ..guest_network import RELAY, free_ports
from ..kept_evidence import PROVEN
from ..machine_document import DOCUMENT, MachineDocument, MachineFacts
from . import qmp
from .command import BLANK, Disk, qemu_command
from .console import CONSOLE, PORT, console_text
from .process import PID_FILE, QMP_SOCKET, PassedFiles, end_qemu, open_file, start_qemu

POWER_BUTTON_TIMEOUT = 3.0  # seconds for QEMU to answer that its power button is pressed
START_TRIES = 3  # another process may take a free port before QEMU binds it


class _Facts(MachineFacts, total=False):
    """The types in ``machine.json``."""

    disk: str
    memory: int
    cpus: int
    reach: dict[str, str]
    previous: dict[str, str]
    root_change: str


class MachineFolder(MachineDocument):
    """The machine in a folder. Raises ProviderError with QEMU's own words."""

    types = _Facts
    written_first = (RELAY,)

    def console(self) -> str:
        """What the guest has printed since it was last started, without the middle if that is long."""
        return console_text(self.folder)

    def pid(self) -> int | None:
        """The pid of the running QEMU, verified by its name argument: another process may have got the same pid."""
        try:
            pid = int((self.folder / PID_FILE).read_text(encoding="ascii"))
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if f"guest={self.id}".encode() in argv else None

    def boot(self) -> str | None:
        """The identity of its present boot: QEMU's process and when that started. None if it is not running."""
        pid = self.pid()
        start = process_start(pid) if pid else None
        return f"{pid}@{start}" if start else None

    def start(self, accel: Accel, disks: Sequence[Disk], new_volumes: bytes = b"", keep_ports: bool = False) -> None:
        """Boot it. Has no effect if it is running.

        Args:
            new_volumes: the file that reports the slot's new volumes to the guest, attached now or later.
            keep_ports: whether it gets the ports of its last boot, if they are still free.
        """
        facts = self.facts()
        if facts is None:
            raise ProviderError(f"there is no machine {self.id}")
        if facts.get("condemned"):
            raise ProviderError(f"machine {self.id} is being removed, so it is not started")
        if self.pid() is not None:
            return
        _require_standalone([Path(facts["disk"]), *(disk.path for disk in disks if disk.format == "qcow2")])
        (self.folder / BLANK).unlink(missing_ok=True)
        if new_volumes:
            write_atomically(self.folder / BLANK, new_volumes)
        for name in (CONSOLE, PORT, PROVEN):
            # QEMU's process exists a moment before it truncates them, and output of an earlier boot must not count.
            (self.folder / name).unlink(missing_ok=True)
        output = ""
        for attempt in range(START_TRIES):
            if attempt or not keep_ports or set(facts["endpoints"]) != set(facts["ports"]):
                facts["endpoints"] = dict(zip(facts["ports"], free_ports(len(facts["ports"])), strict=True))
            self.update(endpoints=facts["endpoints"], stopping=0.0)
            output = self._run(facts, accel, disks)
            if not output:
                self.update(started=time.time())
                return
            if "host forwarding" not in output:
                break
        raise ProviderError(f"QEMU did not start machine {self.id}: {output}")

    def _run(self, facts: Mapping[str, Any], accel: Accel, disks: Sequence[Disk]) -> str:
        """Start QEMU. Returns its errors, or nothing if it runs."""
        rights = rights_for(self.folder, kvm=accel.name == "kvm", spawns=bool(facts.get("reach")))
        with PassedFiles() as files:
            argv = qemu_command(self.folder, facts, disks, files=files, options=[*accel.options, *rights.options])
            bound = facts.get("tags", {}).get(USED_FOR) == VERIFY
            return start_qemu(self.folder, argv, files, user=rights.user, groups=rights.groups, bound=bound)

    def plug(self, disks: Iterable[Disk]) -> None:
        """Attach disks to the running machine. Completes what an interrupted call began."""
        present, devices, sets = self._qmp(
            [
                ("query-named-block-nodes", {"flat": True}),
                ("qom-list", {"path": "/machine/peripheral"}),
                ("query-fdsets", {}),
            ]
        )
        disks = list(disks)
        _require_standalone([disk.path for disk in disks if disk.format == "qcow2"])
        nodes, plugged = {node["node-name"] for node in present}, {device["name"] for device in devices}
        unused = 1 + max((each["fdset-id"] for each in sets), default=0)
        for number, disk in enumerate(disks, unused):
            if disk.node not in nodes:
                self._add_node(disk, number)
            if disk.id not in plugged:
                self._qmp([("device_add", disk.device())])

    def _add_node(self, disk: Disk, number: int) -> None:
        """Open a disk for QEMU, which may not open it itself. It forgets the descriptor if it refuses the disk."""
        handle = open_file(disk.path, os.O_RDWR)
        try:
            add = ("blockdev-add", disk.blockdev(f"/dev/fdset/{number}"))
            qmp.execute(self.folder / QMP_SOCKET, [("add-fd", {"fdset-id": number}), add], passed=[handle])
        except ProviderError as error:
            raise ProviderError(f"{disk.path}: {error.message}") from error
        finally:
            os.close(handle)

    def ask_to_stop(self, for_good: bool = False) -> None:
        """Press the power button. The time of the first press is recorded.

        A guest that is booting may miss it, so each call presses it again. A guest that ignores it stays as it is until
        it is powered off.

        Args:
            for_good: remove the machine once it is down.
        """
        facts = self.facts()
        if facts is None or (self.pid() is None and not for_good):
            return
        self.update(stopping=facts.get("stopping") or time.time(), condemned=for_good or facts.get("condemned", False))
        with suppress(ProviderError):
            # QEMU pauses the guest when a volume's disk is full. Let it write the rest first, there may be room now.
            qmp.execute(self.folder / QMP_SOCKET, [("cont", {}), ("system_powerdown", {})], POWER_BUTTON_TIMEOUT)

    def _qmp(self, commands: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return qmp.execute(self.folder / QMP_SOCKET, commands)

    def power_off(self) -> None:
        pid = self.pid()
        if pid is not None:
            end_qemu(pid)

    def remove(self) -> None:
        """Remove what is left of it. ``machine.json`` goes last, so the next run resumes an interrupted removal."""
        self.power_off()
        remove_documented(self.folder, DOCUMENT)


def _require_standalone(disks: Sequence[Path]) -> None:
    """Raise ProviderError for a qcow2 disk that names another file, which QEMU would open."""
    for disk in disks:
        try:
            named = named_file(disk)
        except FileNotFoundError:
            continue  # QEMU says so
        except OSError as error:
            raise ProviderError(f"the disk {disk} cannot be read: {error.strerror}") from error
        if named:
            raise ProviderError(
                f"the disk {disk} names a {named}, through which a guest could read any file of this machine;"
                " no disk of this collection does, so someone changed it: bake the image again, or restore the volume"
            )
