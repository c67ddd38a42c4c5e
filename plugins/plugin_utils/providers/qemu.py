# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual machines of this machine, without a daemon and without root.

Everything lies below one folder: ``machines/<fleet>/<id>/`` and ``volumes/<fleet>/<slot>-<name>/``. Nothing is kept in memory,
so any later run finds what an earlier one made. A volume's disk is locked by QEMU itself while a machine has it.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ProviderError
from ..files import write_atomically
from .accel import Accel, choose, qemu_version
from .base import PENDING, RUNNING, STOPPED, Instance, LaunchRequest, Traffic, Volume, VolumeRequest
from .evidence import parse_evidence
from .launch import launch_document
from .qemu_machine import LOOPBACK, Disk, MachineFolder, wait_until_stopped

POLL = 0.25  # seconds: consoles and pid files are cheap to read


class QemuClock:
    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, POLL)))


class QemuVolumes:
    """Data volumes as qcow2 files."""

    def __init__(self, root: Path, machines: Path) -> None:
        self._root = root / "volumes"
        self._machines = machines

    def list(self, fleet: str) -> list[Volume]:
        return [volume for volume in map(self._read, sorted((self._root / fleet).glob("*/volume.json"))) if volume]

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        made = []
        for request in requests:
            folder = self._root / request.fleet / f"{request.slot}-{request.name}"
            document = folder / "volume.json"
            if not document.exists():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "disk.qcow2"), str(request.size)])
                self._write(folder, {"slot": request.slot, "name": request.name, "size": request.size, "attached_to": None, "attached_at": 0.0})
            volume = self._read(document)
            if volume:  # unless somebody removed it since
                made.append(volume)
        return made

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        folders = [self._folder(volume_id) for volume_id in volume_ids]
        for folder in folders:
            volume = self._read(folder / "volume.json")
            if volume and volume.attached_to not in (None, instance_id):
                raise ProviderError(f"volume {volume.id} is attached to {volume.attached_to}, so it cannot be attached to {instance_id}")
        machine = self._machine_of(folders, instance_id)
        if machine.pid() is not None:
            # Plugged before it is noted: a run that is cut between the two finds it plugged and only notes it.
            machine.plug(disk_of(folder) for folder in folders)
        for folder in folders:
            self._write(folder, {**_load(folder), "attached_to": instance_id, "attached_at": time.time()})

    def detach(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            holder = _load(folder).get("attached_to")
            if holder and self._machine_of([folder], holder).pid() is not None:
                raise ProviderError(f"volume {volume_id} is in use by {holder}, which still runs: stop it first")
            self._write(folder, {**_load(folder), "attached_to": None, "attached_at": 0.0})

    def remove(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            if folder.exists():
                self.detach([volume_id])
                shutil.rmtree(folder)

    def disks(self, fleet: str, instance_id: str) -> Sequence[Disk]:
        """What is attached to an instance, for its next start."""
        return [disk_of(self._folder(volume.id)) for volume in self.list(fleet) if volume.attached_to == instance_id]

    def _folder(self, volume_id: str) -> Path:
        fleet, _slash, name = volume_id.partition("/")
        return self._root / fleet / name

    def _machine_of(self, folders: Sequence[Path], instance_id: str) -> MachineFolder:
        return MachineFolder(self._machines / folders[0].parent.name / instance_id)

    def _read(self, document: Path) -> Volume | None:
        folder = document.parent
        facts = _load(folder)
        holder = facts["attached_to"]
        if holder and self._machine_of([folder], holder).facts() is None:
            holder = None  # its machine is gone, so nobody has it
        return Volume(
            id=f"{folder.parent.name}/{folder.name}",
            fleet=folder.parent.name,
            slot=facts["slot"],
            name=facts["name"],
            size=facts["size"],
            attached_to=holder,
            attached_at=facts["attached_at"] if holder else 0.0,
        )

    def _write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        write_atomically(folder / "volume.json", json.dumps(facts, indent=1).encode())


class QemuCompute:
    """Instances as QEMU processes. Their root disk is the image itself, given read-only: nothing is copied."""

    def __init__(self, root: Path, volumes: QemuVolumes, accel: Callable[[Path], Accel]) -> None:
        self._root = root / "machines"
        self._volumes = volumes
        self._accel = accel

    def list(self, fleet: str) -> list[Instance]:
        return [instance for instance in map(_instance, self._machines(fleet)) if instance]

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        launched = []
        for request in requests:
            self._clear_unborn(request.fleet, request.token)
            machine = self._machine(request.fleet, request.token)
            if machine.facts() is None:
                self._make(machine, request)
            for volume_id in request.volumes:
                self._volumes.attach([volume_id], machine.id)
            self._start(request.fleet, machine)
            instance = _instance(machine)
            if instance is None:
                raise ProviderError(f"machine {machine.id} ended as soon as it was started: {machine.console()[-500:]}")
            launched.append(instance)
        return launched

    def stop(self, ids: Sequence[str], timeout: float) -> None:
        machines = [machine for machine in map(self._find, ids) if machine and machine.pid() is not None]
        for machine in machines:
            machine.ask_to_stop()
        wait_until_stopped(machines, timeout)
        for machine in machines:
            machine.power_off()

    def start(self, ids: Sequence[str]) -> None:
        for instance_id in ids:
            machine = self._find(instance_id)
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            self._start(machine.folder.parent.name, machine)

    def remove(self, ids: Sequence[str]) -> None:
        for machine in map(self._find, ids):
            if machine is not None:
                machine.remove()

    def console(self, instance_id: str) -> str:
        machine = self._find(instance_id)
        return machine.console() if machine else ""

    def _machines(self, fleet: str) -> Sequence[MachineFolder]:
        return [MachineFolder(document.parent) for document in sorted((self._root / fleet).glob("*/machine.json"))]

    def _machine(self, fleet: str, instance_id: str) -> MachineFolder:
        return MachineFolder(self._root / fleet / instance_id)

    def _find(self, instance_id: str) -> MachineFolder | None:
        found = next(self._root.glob(f"*/{instance_id}/machine.json"), None)
        return MachineFolder(found.parent) if found else None

    def _make(self, machine: MachineFolder, request: LaunchRequest) -> None:
        disk = request.artifact["path"]
        if not os.path.exists(disk):
            raise ProviderError(f"the image's disk is gone: {disk} (bake it again)")
        shutil.rmtree(machine.folder, ignore_errors=True)
        machine.folder.mkdir(mode=0o700, parents=True)
        write_atomically(machine.folder / "launch.tar", launch_document(_members(request)))
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
                "created": time.time(),
                "started": 0.0,
            }
        )

    def _start(self, fleet: str, machine: MachineFolder) -> None:
        facts = machine.facts() or {}
        machine.start(self._accel(Path(facts["disk"])), self._volumes.disks(fleet, machine.id))

    def _clear_unborn(self, fleet: str, token: str) -> None:
        """A run that was cut between making a folder and starting QEMU leaves what no list shows: take it away."""
        for folder in (self._root / fleet).glob("*/"):
            machine = MachineFolder(folder)
            if machine.id != token and _instance(machine) is None:
                shutil.rmtree(folder)


class QemuProvider:
    """One target on this machine."""

    name = "qemu"

    def __init__(self, directory: Path, balancer: Callable[[str], Traffic]) -> None:
        self._directory = directory
        self._balancer = balancer
        self._chosen: Accel | None = None
        self.volumes = QemuVolumes(directory, directory / "machines")
        self.compute = QemuCompute(directory, self.volumes, self._accel)
        self.clock = QemuClock()

    def traffic(self, fleet: str) -> Traffic:
        return self._balancer(fleet)

    def describe(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"provider": self.name, "qemu": qemu_version(), "warnings": []}
        if self._chosen:
            facts["accelerator"] = self._chosen.name
            facts["accelerator_reason"] = self._chosen.reason
        if in_container():
            facts["warnings"].append("this is a container: its virtual machines and their data end with it")
        return facts

    def _accel(self, disk: Path) -> Accel:
        if self._chosen is None:
            self._chosen = choose(self._directory, disk)
        return self._chosen


def in_container() -> bool:
    """Whether this machine is a container, whose end would take the instances with it."""
    return any(os.path.exists(mark) for mark in ("/.dockerenv", "/run/.containerenv")) or "container" in os.environ


def disk_of(folder: Path) -> Disk:
    return Disk(path=folder / "disk.qcow2", serial=_load(folder)["name"])


def _load(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / "volume.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProviderError(f"there is no volume {folder.parent.name}/{folder.name}") from None
    return facts


def _instance(machine: MachineFolder) -> Instance | None:
    """The machine as the rooms see it, or None while it was never started."""
    facts = machine.facts()
    if facts is None:
        return None
    running = machine.pid() is not None
    if not running and not facts["started"]:
        return None
    evidence = parse_evidence(machine.console()) if running else None
    return Instance(
        id=machine.id,
        fleet=facts["fleet"],
        slot=facts["slot"],
        image=facts["image"],
        launch=facts["launch"],
        state=STOPPED if not running else RUNNING if evidence else PENDING,
        purpose=facts["purpose"],
        created=facts["created"],
        nonce=facts["nonce"],
        endpoints={int(guest): (LOOPBACK, host) for guest, host in facts["endpoints"].items()},
        evidence=evidence,
        tags=facts["tags"],
        started=facts["started"] or facts["created"],
    )


def _members(request: LaunchRequest) -> dict[str, bytes]:
    members = {
        "nonce": request.nonce.encode() + b"\n",
        "purpose": request.purpose.encode() + b"\n",
        "settings.json": json.dumps(dict(request.settings), sort_keys=True).encode(),
        "settings.env": "".join(f"{name}={_env(value)}\n" for name, value in sorted(request.settings.items())).encode(),
    }
    if request.authorized_keys:
        members["authorized_keys"] = "".join(f"{key.strip()}\n" for key in request.authorized_keys).encode()
    for name, value in request.secrets.items():
        members[f"secrets/{name}"] = value.encode()
    return members


def _env(value: Any) -> str:
    """A value as systemd's EnvironmentFile reads it."""
    text = value if isinstance(value, str) else json.dumps(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'


def _run(argv: Sequence[str]) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ProviderError(f"{argv[0]} is not installed (Debian: apt install qemu-utils)") from None
    except subprocess.CalledProcessError as error:
        raise ProviderError(f"{argv[0]} failed: {error.stderr.strip()}") from error
