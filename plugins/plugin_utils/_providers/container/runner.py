# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Creates, starts and ends the container of one machine."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, Protocol

from ..._core.errors import ProviderError
from ..._core.processes import process_start
from ..container_data import data_mounts
from ..container_engine import PODMAN, ContainerEngine
from ..container_images import load_image
from ..contract import USED_FOR, VERIFY
from ..guest_network import check_reach
from ..kept_evidence import PROVEN
from .bound import BoundContainers
from .command import CONSOLE, PID_FILE, SYSTEMD, ContainerSpec, VolumeMount, create_arguments
from .facts import EngineFacts, ignores
from .machine import MachineFolder
from .observed import inspect_containers, is_own, own_containers, process_facts
from .relays import ensure_relay

_TRIES = 3  # the call of a run that was killed may create the container meanwhile
_KILL_TIMEOUT = 10.0  # seconds


class Mounts(Protocol):
    """The volumes of a provider, as far as a start needs them."""

    def mounts(self, fleet: str, instance_id: str) -> Sequence[VolumeMount]:
        """What the instance mounts when it starts now."""

    def missing(self, fleet: str, instance_id: str) -> Sequence[str]:
        """Names of the volumes that its image expects and that are not attached to it yet."""


class Runner:
    """Runs containers of one engine. Raises ProviderError with the engine's own words."""

    def __init__(self, engine: ContainerEngine, volumes: Mounts) -> None:
        self._engine = engine
        self._volumes = volumes
        self._bound = BoundContainers(engine)

    def start(self, machine: MachineFolder) -> None:
        """Create the container of a machine and start it once all its volumes are attached. No effect if it runs.

        A container that ended is created again: nothing in it counts, because its root is read-only.
        """
        with machine.starting():
            facts = machine.facts()
            if not facts or "artifact" not in facts:
                raise ProviderError(f"{machine.folder / 'machine.json'} is missing or damaged, so it is not started")
            if facts.get("condemned"):
                raise ProviderError(f"instance {machine.id} is being removed, so it is not started")
            if facts.get("given_up"):
                raise ProviderError(f"instance {machine.id} is not started: {facts['given_up']}", permanent=True)
            if machine.pid() is not None:
                return
            if self._engine.name != PODMAN:
                self._own(machine)
            if facts.get("tags", {}).get(USED_FOR) == VERIFY:
                self._bound.add(machine.id)
            load_image(self._engine, facts["artifact"])
            missing = self._volumes.missing(machine.fleet, machine.id) if data_mounts(facts["artifact"]) else ()
            mounts = () if missing else self._volumes.mounts(machine.fleet, machine.id)
            self._create(machine, facts, mounts)
            if missing:
                machine.update(waiting=True, boot="", stopping=0.0, started=time.time())
                return
            machine.update(boot="", stopping=0.0)
            self._engine.run("start", machine.id)
            self._record(machine)
        self.relay(machine)

    def restore_waiting(self, machine: MachineFolder) -> None:
        """Create the container of a waiting instance again, if an interrupted start has removed it."""
        with machine.starting():
            facts = machine.facts() or {}
            waits = facts.get("waiting") and facts.get("started") and not facts.get("condemned")
            if waits and machine.pid() is None and self._own(machine) is None:
                load_image(self._engine, facts["artifact"])
                self._create(machine, facts, ())

    def _create(self, machine: MachineFolder, facts: dict[str, Any], mounts: Sequence[VolumeMount]) -> None:
        check_reach(self._reach(facts))
        spec = ContainerSpec(
            folder=machine.folder,
            name=machine.id,
            artifact=facts["artifact"],
            settings=facts.get("settings", {}),
            mounts=mounts,
            memory=facts.get("machine", {}).get("memory", 0),
            cpus=facts.get("machine", {}).get("cpus", 0),
            limits=self._engine.limits(),
            published=facts.get("ports", []) if self.publishes else (),
        )
        arguments = create_arguments(self._engine.name, spec)
        for attempt in range(_TRIES):
            for name in (CONSOLE, PROVEN, PID_FILE):
                (machine.folder / name).unlink(missing_ok=True)
            try:
                self._engine.run(*arguments)
                return
            except ProviderError as error:
                if "already in use" not in error.message or attempt == _TRIES - 1:
                    raise ProviderError(f"container {machine.id} was not created: {error.message}") from error
            # It was stopped, or a run was killed while it started it. Its root is read-only, so nothing in it counts.
            self._remove_container(machine)

    def _record(self, machine: MachineFolder) -> None:
        """Record the present boot. A container that has ended already is STOPPED."""
        found = own_containers(self._engine, [machine]).get(machine.id)
        started = process_start(found.pid) if found and found.pid else None
        boot = f"{found.pid}@{started}" if found and started else ""
        machine.update(boot=boot, waiting=False, started=time.time())

    @property
    def publishes(self) -> bool:
        """Whether the engine itself must forward ports: only root can enter the networks of its containers."""
        return self._engine.name != PODMAN and os.geteuid() != 0

    def relay(self, machine: MachineFolder) -> None:
        """Start the relay of a running container if it does not run, and record at which ports it listens."""
        facts, boot = machine.facts() or {}, machine.boot()
        if not boot or self.publishes:
            return
        endpoints = {port: facts.get("endpoints", {}).get(port, 0) for port in facts.get("ports", [])}
        try:
            found = ensure_relay(self._engine, machine.folder, boot, ports=endpoints, reach=self._reach(facts))
        except ProviderError:
            if machine.boot() != boot:
                return  # the container has ended meanwhile
            raise
        if found != facts.get("endpoints", {}):
            machine.update(endpoints=found)

    @staticmethod
    def _reach(facts: dict[str, Any]) -> dict[str, str]:
        return dict(facts.get("machine", {}).get("reach", {}))

    def ask_to_stop(self, machine: MachineFolder, for_good: bool = False) -> None:
        """Send the signal at which its first process ends in order. The time of the first one is recorded.

        Args:
            for_good: remove the machine once it is down.
        """
        facts = machine.facts()
        if facts is None:
            return
        pid = machine.pid()
        if pid is None:
            condemned = {"condemned": True} if for_good else {}
            machine.update(waiting=False, **condemned)
            return
        machine.update(
            stopping=facts.get("stopping") or time.time(), condemned=for_good or facts.get("condemned", False)
        )
        name = facts.get("artifact", {}).get("stop_signal", "SIGTERM")
        status = process_facts(self._engine, [pid]).get(pid)
        if facts.get("artifact", {}).get("init") != SYSTEMD and status and ignores(status.status, _number(name)):
            name = "SIGKILL"  # the first process of a container gets only signals that it handles
        # A guest that is starting may miss it, so each call sends it again. One that has just ended cannot be asked.
        self._engine.run("kill", "--signal", name, machine.id, check=False)

    def power_off(self, machine: MachineFolder) -> None:
        """Kill a container and wait until it can no longer write anything. Raises ProviderError if it does not end."""
        pid = machine.pid()
        if pid is None:
            machine.update(waiting=False)
            return
        boot = machine.boot()
        self._engine.run("kill", "--signal", "SIGKILL", machine.id, check=False)
        if not _ends(pid, boot, _KILL_TIMEOUT):
            raise ProviderError(f"container {machine.id} was killed but does not end: its storage may hang")

    def remove(self, machine: MachineFolder) -> None:
        """Remove the container of a machine, and then its folder."""
        with machine.starting():
            self.power_off(machine)
            self._remove_container(machine)
            self._bound.discard(machine.id)
            machine.remove()

    def _own(self, machine: MachineFolder) -> EngineFacts | None:
        """The container of a machine, if it exists. Raises ProviderError if another one has its name."""
        found = inspect_containers(self._engine, [machine.id]).get(machine.id)
        if found and not is_own(self._engine, found, machine.folder):
            raise ProviderError(
                f"{self._engine.name} has another container named {machine.id}, which is not of {machine.folder}, so "
                "nothing is done to it: rename or remove it, or use another store of images in which the fleet has "
                "another name"
            )
        return found

    def _remove_container(self, machine: MachineFolder) -> None:
        """Remove the container of a machine. It need not exist."""
        found = self._own(machine)
        try:
            # A container that an interrupted call left may be unknown, so it is named all the same.
            self._engine.run("rm", "--force", "--volumes", found.id if found else machine.id)
        except ProviderError:
            if self._own(machine):
                raise


def _number(name: str) -> int:
    base, _plus, more = name.partition("+")
    return int(getattr(signal, base, signal.SIGTERM)) + int(more or 0)


def _ends(pid: int, boot: str | None, seconds: float) -> bool:
    """Whether a process ends in time. It may belong to another user, so it gets no signal here."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if boot != f"{pid}@{process_start(pid)}":
            return True
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    finally:
        os.close(handle)
