# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instances as containers, see ``contract.Compute``.

Everything is below one folder: ``machines/<fleet>/<id>/``. A container has the name of its instance, which is the token
of its launch. It outlives the run that started it. Nothing is kept in memory, so each run finds what earlier runs
created. An instance whose volumes are not all attached is created, but not started: its evidence is what it was created
with.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..._core.files import make_private_folder, remove_documented
from ..._core.locked import FOLDER, Locked
from ..._core.processes import process_start
from ..container_address import ContainerAddress
from ..container_data import data_mounts
from ..container_engine import PODMAN, ContainerEngine
from ..container_images import image_id, load_image
from ..contract import Evidence, Instance, LaunchRequest
from ..ended_instance import EndedInstance
from ..guest_network import check_reach, free_ports
from ..machine_document import DOCUMENT, instance_of, was_started
from ..tags import SHELL
from .command import SYSTEMD, check_artifact
from .console import BootEvidence, console_text
from .facts import EngineFacts, ProcessFacts, created_problems, running_problems
from .launch import write_launch_files
from .machine import MachineFolder
from .observed import own_containers, process_facts
from .runner import Runner

Instances = list[Instance]  # the class has a member of the same name
SHARED_MEMORY = "/dev/shm"  # noqa: S108  in each container, and with the sticky bit
_LOG_LINES = 500  # of an engine that keeps its logs elsewhere; docker divides what is longer than 16 KiB


class ContainerCompute:
    """See ``contract.Compute``.

    Args:
        root: the provider's folder.
        runner: starts and ends the containers.
        fleets_of_volumes: names of all fleets that have volumes.
        attach: attaches volumes to an instance, see ``contract.Volumes``.
    """

    def __init__(
        self,
        root: Path,
        engine: ContainerEngine,
        runner: Runner,
        fleets_of_volumes: Callable[[], Sequence[str]],
        attach: Callable[[Sequence[str], str], None],
    ) -> None:
        self._root = root / "machines"
        self._engine = engine
        self._runner = runner
        self._fleets_of_volumes = fleets_of_volumes
        self._attach = attach
        self._evidence = BootEvidence()

    def list(self, fleet: str) -> list[Instance]:
        machines = self._machines(fleet)
        engine = own_containers(self._engine, machines)
        for machine in machines:
            self._reconcile(machine, engine.get(machine.id))
        self._remove_ended(machines)
        return self._instances([machine for machine in machines if machine.facts() is not None], engine)

    def ended(self, fleet: str) -> Sequence[EndedInstance]:  # noqa: ARG002  those of every fleet remain
        """Returns none: an instance that has ended remains in the list, STOPPED."""
        return ()

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        """Accepts all settings: a user who may launch instances here may also stop and remove them."""

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        launched = []
        for request in requests:
            machine = self.machine(request.fleet, request.token)
            with self._creating(request.fleet):
                self._remove_never_started(request.fleet, request.token)
                if machine.facts() is None:
                    self._create(machine, request)
            if request.volumes:
                self._attach(request.volumes, machine.id)  # starts it, if these are all of its volumes
            facts = machine.facts() or {}
            if not (facts.get("given_up") or (facts.get("waiting") and facts.get("started"))):
                self._runner.start(machine)
            launched.append(machine)
        fleets = {request.fleet for request in requests}
        found = {instance.id: instance for fleet in sorted(fleets) for instance in self.list(fleet)}
        missing = [machine.id for machine in launched if machine.id not in found]
        if missing:
            raise ProviderError(f"container {missing[0]} was removed as soon as it was started")
        return [found[machine.id] for machine in launched]

    def stop(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            self._runner.ask_to_stop(machine)

    def power_off(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            self._runner.power_off(machine)

    def start(self, ids: Sequence[str]) -> None:
        for instance_id in ids:
            machine = self._find(instance_id)
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            self._runner.start(machine)

    def remove(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            self._runner.ask_to_stop(machine, for_good=True)
            if machine.pid() is None:
                self._runner.remove(machine)

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        for machine in self._find_all(ids):
            machine.update(tags=tags)

    def fleets(self) -> Sequence[str]:
        names = {folder.name for folder in self._root.glob("*/") if self.list(folder.name)}
        return sorted(names | set(self._fleets_of_volumes()))

    def console(self, instance_id: str) -> str:
        machine = self._find(instance_id)
        if machine is None:
            return ""
        reason = str((machine.facts() or {}).get("given_up", ""))
        if reason:
            return f"{reason}\n"
        return console_text(machine.folder) if self._engine.name == PODMAN else self._logs(machine)

    def machine(self, fleet: str, instance_id: str) -> MachineFolder:
        """Return the folder of an instance, whether or not it exists."""
        return MachineFolder(self._root / fleet / instance_id)

    def _machines(self, fleet: str) -> Sequence[MachineFolder]:
        return [MachineFolder(document.parent) for document in sorted((self._root / fleet).glob(f"*/{DOCUMENT}"))]

    def _find(self, instance_id: str) -> MachineFolder | None:
        found = next(self._root.glob(f"*/{instance_id}/{DOCUMENT}"), None)
        return MachineFolder(found.parent) if found else None

    def _find_all(self, ids: Sequence[str]) -> Sequence[MachineFolder]:
        return [machine for machine in map(self._find, ids) if machine]

    def _creating(self, fleet: str) -> Locked:
        """Hold the lock under which folders of instances are created: another run may launch the same token."""
        make_private_folder(self._root / fleet)
        return Locked(self._root / fleet, FOLDER)

    def _create(self, machine: MachineFolder, request: LaunchRequest) -> None:
        check_artifact(request.artifact)
        if request.artifact["init"] == SYSTEMD and (refusal := self._engine.systemd_refusal()):
            raise ProviderError(refusal, permanent=True)
        check_reach(dict(request.machine.get("reach", {})))
        if machine.folder.exists() and not machine.unfinished():
            raise ProviderError(
                f"{machine.folder} is in the way of a new container, but no document proves that it belongs to one; "
                "move it away"
            )
        shutil.rmtree(machine.folder, ignore_errors=True)
        make_private_folder(machine.folder)
        load_image(self._engine, request.artifact)
        write_launch_files(self._engine, machine.folder, request)
        ports = [str(port) for port in request.ports]
        machine.save(
            {
                "fleet": request.fleet,
                "slot": request.slot,
                "image": request.image,
                "launch": request.launch,
                "nonce": request.nonce,
                "purpose": request.purpose,
                "tags": dict(request.tags),
                "artifact": dict(request.artifact),
                "ports": ports,
                "endpoints": dict(zip(ports, free_ports(len(ports)), strict=True)),
                "settings": dict(request.settings),
                "machine": dict(request.machine),
                "created": time.time(),
                "started": 0.0,
                "waiting": bool(data_mounts(request.artifact)),
            }
        )

    def _reconcile(self, machine: MachineFolder, engine: EngineFacts | None) -> None:
        """Record what an interrupted run could not, and start a relay that was killed."""
        facts = machine.facts()
        if not facts:
            return
        running = engine is not None and engine.pid > 0 and (engine.running or machine.boot() is not None)
        started = process_start(engine.pid) if engine and running else None
        if engine and started:
            boot = f"{engine.pid}@{started}"
            if facts.get("boot") != boot or facts.get("waiting"):
                machine.update(boot=boot, waiting=False, started=time.time())
            if self._runner.publishes:
                machine.update(endpoints={str(port): place for port, place in engine.published.items()})
        if not facts.get("condemned"):
            if engine is None and facts.get("waiting") and facts.get("started"):
                with suppress(ProviderError):
                    self._runner.restore_waiting(machine)
            # A host that cannot be reached is unhealthy, which says more than a failed observation.
            with suppress(ProviderError):
                self._runner.relay(machine)

    def _remove_ended(self, machines: Sequence[MachineFolder]) -> None:
        """Remove instances that have ended after their removal began."""
        for machine in machines:
            if machine.facts() is not None and machine.removed():
                self._runner.remove(machine)

    def _remove_never_started(self, fleet: str, token: str) -> None:
        """Remove folders that no list shows: a run that was interrupted before it started a container leaves one."""
        for folder in (self._root / fleet).glob("*/"):
            machine = MachineFolder(folder)
            facts = machine.facts()
            if machine.id == token or (facts is not None and was_started(facts, machine.pid() is not None)):
                continue
            if facts is not None:
                self._runner.remove(machine)
            elif not remove_documented(folder, DOCUMENT) and machine.unfinished():
                shutil.rmtree(folder)

    def _instances(self, machines: Sequence[MachineFolder], engine: Mapping[str, EngineFacts]) -> Instances:
        boots = {machine.id: machine.boot() for machine in machines}
        pids = [int(boot.partition("@")[0]) for boot in boots.values() if boot]
        processes = process_facts(self._engine, pids)
        found = []
        for machine in machines:
            facts, boot = machine.facts(), boots[machine.id]
            if facts is None or not was_started(facts, boot is not None):
                continue
            process = processes.get(int(boot.partition("@")[0])) if boot else None
            evidence = self._proof(machine, facts, engine.get(machine.id), process=process, boot=boot)
            running = boot is not None
            present = running or bool(facts.get("waiting"))
            instance = instance_of(machine, facts, evidence, running=running, present=present)
            ended = engine.get(machine.id) if not present else None
            found.append(
                replace(
                    instance,
                    container=self._address(machine, facts),
                    stop_reason=f"it exited with status {ended.exit_status}" if ended else "",
                )
            )
        return found

    def _proof(
        self,
        machine: MachineFolder,
        facts: Mapping[str, Any],
        engine: EngineFacts | None,
        *,
        process: ProcessFacts | None,
        boot: str | None,
    ) -> Evidence | None:
        """The evidence of a container that runs, or that waits for its volumes. None as long as a fact is missing."""
        artifact = facts.get("artifact")
        if artifact is None or engine is None or created_problems(engine, image_id(artifact)):
            return None
        launched = Evidence(facts["image"], facts["nonce"], "", facts.get("tags", {}).get(SHELL, "off"))
        if boot is None:
            return launched if facts.get("waiting") else None
        if process is None or running_problems(process, artifact["capabilities"]):
            return None
        if artifact["init"] != SYSTEMD:
            return launched
        printed = None if self._engine.name == PODMAN else self._logs(machine)
        return self._evidence.of(machine.folder, boot, facts["nonce"], printed)

    def _address(self, machine: MachineFolder, facts: Mapping[str, Any]) -> ContainerAddress:
        """By what Ansible finds the container. Only systemd has a folder in memory that is root's own."""
        address = ContainerAddress(self._engine.name, str(self._root.parent), machine.id)
        systemd = facts.get("artifact", {}).get("init") == SYSTEMD
        return address if systemd else replace(address, remote_tmp=SHARED_MEMORY)

    def _logs(self, machine: MachineFolder) -> str:
        return self._engine.run("logs", "--tail", str(_LOG_LINES), machine.id, check=False)
