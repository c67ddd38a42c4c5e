# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between the providers whose real machines are tested: the definition's target, and their processes.

What runs is found by its processes, not by the documents of the store that is tested.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import (
    DOCKER,
    PODMAN,
    ContainerEngine,
    EngineName,
    open_engine,
)

from .command_lines import command_lines

MOUNT = "/var/lib/echo"  # of the data volume


class Lab(Protocol):
    """A provider whose machines are tested."""

    provider: str  # its name in a definition, and the name of its folder in a store
    target: Mapping[str, Any]  # its settings in the definition
    volume: Mapping[str, Any]  # the data volume's settings
    patience: str  # for one answer of an instance to a probe, also on a machine that stops for seconds
    deadline: str  # for health: all of it passes before a bad version is taken back
    short_deadline: str  # in which an instance answers at least once

    def running(self, store: Path, fleet: str) -> dict[str, int]:
        """The process of each machine of a fleet and of its verification, by the machine's name.

        Includes the machines of bakes, unless they are containers, which do not name the service.
        """

    def has_open(self, process: int, store: Path, volume: str) -> bool:
        """Whether a machine's process can write to a volume."""


class Qemu:
    provider = "qemu"
    target: Mapping[str, Any] = {"machine": {"memory": "384M"}}
    volume: Mapping[str, Any] = {"size": "64M"}
    patience, deadline, short_deadline = "20s", "90s", "60s"  # a probe of a host that is down takes all its patience

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


class Containers:
    """Containers of an engine. That of docker is found by ``DOCKER_HOST``."""

    provider = "container"
    volume: Mapping[str, Any] = {"size": "64M"}
    patience, deadline, short_deadline = "60s", "60s", "20s"

    def __init__(self, engine: EngineName) -> None:
        self._engine = engine
        self.target: Mapping[str, Any] = {} if engine == PODMAN else {"engine": engine}

    def running(self, store: Path, fleet: str) -> dict[str, int]:
        if not (store / self.provider).exists():
            return {}
        engine = open_engine(self._engine, store / self.provider)
        found = _of_podman(engine) if self._engine == PODMAN else _of_docker(engine)
        return {name: pid for name, pid in found.items() if name.startswith((fleet, f"verify-{fleet}"))}

    def has_open(self, process: int, store: Path, volume: str) -> bool:
        folder = store / "container/volumes" / volume
        try:
            mounted = os.stat(f"/proc/{process}/root{MOUNT}")
        except OSError:
            return False
        places = [each for each in (folder / "data", folder / "mounted/data") if each.exists()]
        return any(os.path.samestat(mounted, each.stat()) for each in places)


LABS: Mapping[str, Lab] = {"qemu": Qemu(), "container": Containers(PODMAN), DOCKER: Containers(DOCKER)}


def _of_podman(engine: ContainerEngine) -> dict[str, int]:
    return {each["Names"][0]: each["Pid"] for each in engine.json("ps", "--format", "json")}


def _of_docker(engine: ContainerEngine) -> dict[str, int]:
    """Docker lists no processes. A container that has ended in the meantime is left out."""
    listed = engine.run("ps", "--quiet").split()
    rows = json.loads(engine.run("container", "inspect", *listed, check=False)) if listed else []
    return {each["Name"].removeprefix("/"): each["State"]["Pid"] for each in rows if each["State"]["Pid"]}


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
    return [(pid, words) for pid, words in command_lines() if words[0].startswith("qemu-system")]


def _open_files(pid: int) -> list[str]:
    found = []
    for handle in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(os.readlink(handle))
        except OSError:
            continue
    return found
