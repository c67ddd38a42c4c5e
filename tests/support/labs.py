# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between the providers whose real machines are tested: the definition's target, and their processes.

What runs is found by its processes, not by the documents of the store that is tested.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine

MOUNT = "/var/lib/echo"  # of the data volume


class Lab(Protocol):
    """A provider whose machines are tested."""

    provider: str  # its name in a definition, and the name of its folder in a store
    target: Mapping[str, Any]  # its settings in the definition
    volume: Mapping[str, Any]  # the data volume's settings
    deadline: str  # for health: all of it passes before a bad version is taken back

    def running(self, store: Path, fleet: str) -> dict[str, int]:
        """The process of each machine of a fleet, of its verification and of its bakes, by the machine's name."""

    def has_open(self, process: int, store: Path, volume: str) -> bool:
        """Whether a machine's process can write to a volume."""


class Qemu:
    provider = "qemu"
    target: Mapping[str, Any] = {"machine": {"memory": "384M"}}
    volume: Mapping[str, Any] = {"size": "64M"}
    deadline = "45s"

    def running(self, store: Path, fleet: str) -> dict[str, int]:
        work = str(store / "work")
        return {
            guest_of(words): pid
            for pid, words in _qemus()
            if any(fleet in word or work in word for word in words) and guest_of(words)
        }

    def has_open(self, process: int, store: Path, volume: str) -> bool:
        folder = store / "qemu/volumes" / volume
        return any(folder in Path(file).parents for file in _open_files(process))


class Podman:
    """Containers of podman."""

    provider = "container"
    target: Mapping[str, Any] = {}
    volume: Mapping[str, Any] = {"size": "64M"}
    deadline = "20s"

    def running(self, store: Path, fleet: str) -> dict[str, int]:
        if not (store / self.provider).exists():
            return {}
        listed = open_engine("podman", store / self.provider).json("ps", "--format", "json")
        found = {each["Names"][0]: each["Pid"] for each in listed}
        return {name: pid for name, pid in found.items() if name.startswith(fleet)}

    def has_open(self, process: int, store: Path, volume: str) -> bool:
        folder = store / "container/volumes" / volume
        try:
            mounted = os.stat(f"/proc/{process}/root{MOUNT}")
        except OSError:
            return False
        places = [each for each in (folder / "data", folder / "mounted/data") if each.exists()]
        return any(os.path.samestat(mounted, each.stat()) for each in places)


LABS: Mapping[str, Lab] = {lab.provider: lab for lab in (Qemu(), Podman())}


def kill_and_wait(pid: int) -> None:
    """Kill a process and wait until it has ended."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([handle], [], [], 60)[0]
    os.close(handle)


def guest_of(words: list[str]) -> str:
    """The name of the machine in the arguments of QEMU."""
    return next((word.removeprefix("guest=") for word in words if word.startswith("guest=")), "")


def _qemus() -> list[tuple[int, list[str]]]:
    """Process id and arguments of every running QEMU."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0].startswith("qemu-system"):
            found.append((int(process.parent.name), words))
    return found


def _open_files(pid: int) -> list[str]:
    found = []
    for handle in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(os.readlink(handle))
        except OSError:
            continue
    return found
