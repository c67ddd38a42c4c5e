# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual machines on this machine, without a daemon and without root.

Everything is below one folder: ``machines/<fleet>/<id>/`` and ``volumes/<fleet>/<slot>-<name>/``. Nothing is kept in
memory, so each run finds what earlier runs created. A machine that is being removed keeps its folder until its process
has ended, and the next observation removes the folder. There are no zones.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..._core.files import make_private_folder, remove_documented, write_atomically
from ..accel import Accel, choose, qemu_version
from ..bake_leftovers import Leftovers
from ..confinement import confinement_warnings
from ..contract import (
    Instance,
    LaunchRequest,
    Pace,
    PinSecrets,
    Probe,
    Reimager,
    Traffic,
)
from ..disk_images import DiskImages
from ..ended_instance import EndedInstance
from ..guest_document import launch_document, members, volume_states
from ..guest_network import check_reach
from ..local_clock import LocalClock
from ..machine_document import DOCUMENT, LAUNCH, instance_of, was_started
from .console import BootEvidence, reclaim
from .image_users import image_users
from .machine import MachineFolder
from .reimage import QemuReimager
from .volumes import QemuVolumes


class QemuCompute:
    """Instances as QEMU processes, see ``contract.Compute``. Their root disk is the image itself, read-only."""

    def __init__(self, root: Path, volumes: QemuVolumes, accel: Callable[[Path], Accel]) -> None:
        self._root = root / "machines"
        self._volumes = volumes
        self._accel = accel
        self._evidence = BootEvidence()

    def list(self, fleet: str) -> list[Instance]:
        self._remove_ended(fleet)
        machines = self._machines(fleet)
        for machine in machines:
            reclaim(machine.folder)
        return [instance for instance in map(self._instance_of, machines) if instance]

    def ended(self, fleet: str) -> Sequence[EndedInstance]:  # noqa: ARG002  those of every fleet remain
        """Returns none: an instance that has ended remains in the list, STOPPED."""
        return ()

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        """Accepts all settings: a user who may launch instances here may also stop and remove them."""

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        launched = []
        for request in requests:
            self._remove_ended(request.fleet)
            self._remove_never_started(request.fleet, request.token)
            machine = self._machine(request.fleet, request.token)
            if machine.facts() is None:
                self._create(machine, request)
            for volume_id in request.volumes:
                self._volumes.attach([volume_id], machine.id)
            self.boot(machine)
            instance = self._instance_of(machine)
            if instance is None:
                raise ProviderError(f"machine {machine.id} ended as soon as it was started: {machine.console()[-500:]}")
            launched.append(instance)
        return launched

    def stop(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            machine.ask_to_stop()

    def power_off(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            machine.power_off()

    def start(self, ids: Sequence[str]) -> None:
        for instance_id in ids:
            machine = self.find(instance_id)
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            self.boot(machine)

    def remove(self, ids: Sequence[str]) -> None:
        for machine in self._find_all(ids):
            machine.ask_to_stop(for_good=True)
            if machine.pid() is None:
                machine.remove()

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        for machine in self._find_all(ids):
            machine.update(tags=tags)

    def fleets(self) -> Sequence[str]:
        names = {folder.name for folder in self._root.glob("*/")} | set(self._volumes.fleets())
        return sorted(name for name in names if self._volumes.list(name) or self.list(name))

    def console(self, instance_id: str) -> str:
        machine = self.find(instance_id)
        return machine.console() if machine else ""

    def _machines(self, fleet: str) -> Sequence[MachineFolder]:
        return [MachineFolder(document.parent) for document in sorted((self._root / fleet).glob(f"*/{DOCUMENT}"))]

    def _machine(self, fleet: str, instance_id: str) -> MachineFolder:
        return MachineFolder(self._root / fleet / instance_id)

    def find(self, instance_id: str) -> MachineFolder | None:
        """The machine, or None if there is none."""
        found = next(self._root.glob(f"*/{instance_id}/{DOCUMENT}"), None)
        return MachineFolder(found.parent) if found else None

    def _find_all(self, ids: Sequence[str]) -> Sequence[MachineFolder]:
        return [machine for machine in map(self.find, ids) if machine]

    def _create(self, machine: MachineFolder, request: LaunchRequest) -> None:
        disk = request.artifact["path"]
        if not os.path.exists(disk):
            raise ProviderError(f"the image's disk is missing: {disk} (bake it again)")
        reach = dict(request.machine.get("reach", {}))
        check_reach(reach)
        if machine.folder.exists() and not machine.unfinished():
            raise ProviderError(
                f"{machine.folder} is in the way of a new machine, but no document proves that it belongs to one; "
                "move it away"
            )
        shutil.rmtree(machine.folder, ignore_errors=True)
        make_private_folder(machine.folder.parent)
        machine.folder.mkdir(mode=0o700)
        write_atomically(machine.folder / LAUNCH, launch_document(members(request)))
        machine.save(
            {
                "fleet": request.fleet,
                "slot": request.slot,
                "image": request.image,
                "launch": request.launch,
                "nonce": request.nonce,
                "purpose": request.purpose,
                "tags": dict(request.tags),
                "disk": str(disk),
                "ports": [str(port) for port in request.ports],
                "endpoints": {},
                "memory": request.machine["memory"],
                "cpus": request.machine["cpus"],
                **({"reach": reach} if reach else {}),
                "created": time.time(),
                "started": 0.0,
            }
        )

    def _instance_of(self, machine: MachineFolder) -> Instance | None:
        """The machine as an instance, or None if it was never started."""
        facts, boot = machine.facts(), machine.boot()
        if facts is None or not was_started(facts, boot is not None):
            return None
        evidence = self._evidence.of(machine.folder, boot, str(facts.get("nonce", ""))) if boot else None
        return instance_of(machine, facts, evidence, running=boot is not None)

    def boot(self, machine: MachineFolder, keep_ports: bool = False) -> None:
        """Boot a machine with its volumes. Has no effect if it is running.

        Args:
            keep_ports: whether it gets the ports of its last boot, if they are still free.
        """
        facts, fleet = machine.facts() or {}, machine.fleet
        if "disk" not in facts:
            raise ProviderError(f"{machine.folder / 'machine.json'} is missing or damaged, so it is not started")
        states = self._volumes.created_blank(fleet, facts["slot"])
        disks = self._volumes.disks(fleet, machine.id)
        machine.start(self._accel(Path(facts["disk"])), disks, volume_states(states), keep_ports=keep_ports)

    def _remove_ended(self, fleet: str) -> None:
        """Remove machines that have ended after their removal began."""
        for machine in self._machines(fleet):
            if machine.removed():
                machine.remove()

    def _remove_never_started(self, fleet: str, token: str) -> None:
        """Remove folders that no list shows: a run that was interrupted before it started QEMU leaves one."""
        for folder in (self._root / fleet).glob("*/"):
            machine = MachineFolder(folder)
            facts = machine.facts()
            if machine.id == token or (facts is not None and was_started(facts, machine.pid() is not None)):
                continue
            if not remove_documented(folder, DOCUMENT) and machine.unfinished():
                shutil.rmtree(folder)


class QemuProvider:
    """One target on this machine, see ``contract.Provider``.

    Args:
        directory: the folder of its machines and volumes.
        balancer: returns the load balancer of a fleet.
        images: the store's folder of images.
    """

    name = "qemu"
    longest_call = 0.0

    def __init__(self, directory: Path, balancer: Callable[[str], Traffic], images: Path | None = None) -> None:
        self._directory = directory
        self._balancer = balancer
        self._accelerator: Accel | None = None
        self.volumes = QemuVolumes(directory, directory / "machines")
        self.compute = QemuCompute(directory, self.volumes, self._choose_accelerator)
        self.images = DiskImages(partial(image_users, directory / "machines"), images)
        self.clock = LocalClock()
        self.probe: Probe | None = None
        self.pace: Pace | None = None
        self.leftovers: Leftovers | None = None
        self.pin_secrets: PinSecrets | None = None
        self.prove_again: Callable[[], None] | None = None
        self.reimager: Reimager | None = QemuReimager(self.compute)

    def traffic(self, fleet: str) -> Traffic:
        return self._balancer(fleet)

    def describe(self, fleet: str) -> dict[str, Any]:  # noqa: ARG002  the same for every fleet
        facts: dict[str, Any] = {"provider": self.name, "qemu": qemu_version(), "warnings": confinement_warnings()}
        if self._accelerator:
            facts["accelerator"] = self._accelerator.name
            facts["accelerator_reason"] = self._accelerator.reason
        if in_container():
            facts["warnings"].append("this is a container: when it ends, its virtual machines and their data are lost")
        return facts

    def _choose_accelerator(self, disk: Path) -> Accel:
        if self._accelerator is None:
            self._accelerator = choose(self._directory, disk)
        return self._accelerator


def in_container() -> bool:
    """Whether this machine is a container: instances do not outlive it."""
    return any(os.path.exists(marker) for marker in ("/.dockerenv", "/run/.containerenv")) or "container" in os.environ
