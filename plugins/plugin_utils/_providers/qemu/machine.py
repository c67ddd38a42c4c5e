# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One virtual machine in one folder: ``machine.json`` says what it is, QEMU's pid file and sockets lie beside it.

QEMU runs as a daemon of its own session, so that a machine outlives the run that started it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..._core.files import write_atomically
from ..accel import QEMU, Accel
from . import qmp

LOOPBACK = "127.0.0.1"
KILL_PATIENCE = 10.0  # seconds
PRESS_PATIENCE = 3.0  # seconds for QEMU to take note of its power button
START_TRIES = 3  # a port that was free may be taken before QEMU binds it


@dataclass(frozen=True)
class Disk:
    """A data volume as the machine sees it; ``serial`` is how the guest finds it."""

    path: Path
    serial: str
    format: str = "qcow2"  # or "raw"

    @property
    def node(self) -> str:
        return f"data-{self.serial}"

    def blockdev(self) -> dict[str, Any]:
        return {"driver": self.format, "node-name": self.node, "file": {"driver": "file", "filename": str(self.path)}}

    @property
    def id(self) -> str:
        return f"disk-{self.serial}"

    def device(self) -> dict[str, Any]:
        return {"driver": "virtio-blk-pci", "id": self.id, "drive": self.node, "serial": self.serial}


class MachineFolder:
    """The machine whose folder this is. Raises ProviderError with QEMU's own last words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        return self.folder.name

    def facts(self) -> dict[str, Any] | None:
        """What was written when it was made, or None where there is no machine."""
        try:
            facts: dict[str, Any] = json.loads((self.folder / "machine.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return facts

    def save(self, facts: Mapping[str, Any]) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.folder / "machine.json", json.dumps(facts, indent=1).encode())

    def update(self, **changes: Any) -> None:
        """Change some of its facts, also while another run changes others. Nothing happens where there is no machine."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            facts = self.facts()
            if facts is not None:
                tags = {**facts.get("tags", {}), **changes.pop("tags", {})}
                self.save(
                    {**facts, **changes, "tags": {name: value for name, value in tags.items() if value is not None}}
                )
        finally:
            os.close(folder)

    def gone(self) -> bool:
        """Whether it was removed, or told to go and ended since: then only its folder is left."""
        facts = self.facts()
        return facts is None or (bool(facts.get("condemned")) and self.pid() is None)

    def console(self) -> str:
        """What the guest has printed since it was last started."""
        try:
            return (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def pid(self) -> int | None:
        """The running QEMU, known by its name argument: a pid alone may have been given to another process."""
        try:
            pid = int((self.folder / "qemu.pid").read_text(encoding="ascii"))
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if f"guest={self.id}".encode() in argv else None

    def start(self, accel: Accel, disks: Sequence[Disk]) -> None:
        """Boot it. Nothing happens where it runs already."""
        facts = self.facts()
        if facts is None:
            raise ProviderError(f"there is no machine {self.id}")
        if facts.get("condemned"):
            raise ProviderError(f"machine {self.id} is being removed, so it is not started")
        if self.pid() is not None:
            return
        last_words = ""
        for _attempt in range(START_TRIES):
            facts["endpoints"] = dict(zip(facts["ports"], _free_ports(len(facts["ports"])), strict=True))
            self.update(endpoints=facts["endpoints"], stopping=0.0)
            done = subprocess.run(
                self._argv(facts, accel, disks),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
                check=False,
            )
            if done.returncode == 0:
                self.update(started=time.time())
                return
            last_words = done.stderr.strip()
            if "host forwarding" not in last_words:
                break
        raise ProviderError(f"QEMU did not start machine {self.id}: {last_words}")

    def _argv(self, facts: Mapping[str, Any], accel: Accel, disks: Sequence[Disk]) -> list[str]:
        root = {
            "driver": "qcow2",
            "node-name": "root",
            "read-only": True,
            "file": {"driver": "file", "filename": facts["disk"]},
        }
        forwards = "".join(f",hostfwd=tcp:{LOOPBACK}:{host}-:{guest}" for guest, host in facts["endpoints"].items())
        argv = [QEMU, "-name", f"guest={self.id}", "-nodefaults", "-no-user-config", "-machine", "pc", *accel.options]
        argv += ["-m", f"{facts['memory'] // 1024**2}", "-smp", str(facts["cpus"]), "-display", "none", "-no-reboot"]
        argv += [
            "-daemonize",
            "-pidfile",
            "qemu.pid",
            "-qmp",
            "unix:qmp.sock,server=on,wait=off",
            "-serial",
            "file:console.log",
        ]
        argv += ["-fw_cfg", "name=opt/immutable/launch,file=launch.tar", "-device", "virtio-rng-pci"]
        argv += ["-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net"]
        argv += ["-blockdev", json.dumps(root), "-device", "virtio-blk-pci,drive=root,bootindex=1"]
        for disk in disks:
            argv += ["-blockdev", json.dumps(disk.blockdev()), "-device", json.dumps(disk.device())]
        return argv

    def plug(self, disks: Iterable[Disk]) -> None:
        """Attach disks while it runs. What is attached already stays, and what an earlier call did by half is completed."""
        present, devices = self._qmp(
            [("query-named-block-nodes", {"flat": True}), ("qom-list", {"path": "/machine/peripheral"})]
        )
        nodes, plugged = {node["node-name"] for node in present}, {device["name"] for device in devices}
        for disk in disks:
            if disk.node not in nodes:
                self._qmp([("blockdev-add", disk.blockdev())])
            if disk.id not in plugged:
                self._qmp([("device_add", disk.device())])

    def ask_to_stop(self, for_good: bool = False) -> None:
        """Note the time and press the power button; pressed again, the first time counts. ``for_good``: it is removed once it is down.

        What does not listen stays as it is until it is powered off: a guest that boots may miss the button, so it is pressed each time.
        """
        facts = self.facts()
        if facts is None or (self.pid() is None and not for_good):
            return
        self.update(stopping=facts.get("stopping") or time.time(), condemned=for_good or facts.get("condemned", False))
        with suppress(ProviderError):
            # QEMU paused it if a volume met a full disk: what it still has to write is written first, now that there may be room.
            qmp.execute(self.folder / "qmp.sock", [("cont", {}), ("system_powerdown", {})], PRESS_PATIENCE)

    def _qmp(self, commands: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return qmp.execute(self.folder / "qmp.sock", commands)

    def power_off(self) -> None:
        pid = self.pid()
        if pid is not None:
            _end(pid)

    def remove(self) -> None:
        """Take away what is left of it. What it is goes last, so that a run that was cut is gone on with."""
        self.power_off()
        document = self.folder / "machine.json"
        with suppress(FileNotFoundError):  # another run takes it away too
            for file in (*(each for each in self.folder.iterdir() if each != document), document):
                file.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _end(pid: int) -> None:
    """Kill and wait: only then is it sure that nothing is written any more. Raises ProviderError where it does not end."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(KILL_PATIENCE * 1000):
            raise ProviderError(f"QEMU's process {pid} was killed and does not end: its storage may hang")
    finally:
        os.close(handle)


def _free_ports(count: int) -> list[int]:
    """Free ports of the loopback address, different from each other."""
    held = [socket.socket() for _port in range(count)]
    try:
        for each in held:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
