# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A provider of thought: instances, volumes and balancers in memory, under a virtual clock.

It is stricter than a cloud where a cloud would forgive (a second attach raises), so that a plan cannot lean on kindness.
Check mode runs on it to predict a swap, and the tests run every promise on it, with faults before, amid and after each effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._core.errors import ProviderError, TrafficError
from ..contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Clock,
    Instance,
    LaunchRequest,
    Leftovers,
    Member,
    Pace,
    PinSecrets,
    Volume,
    VolumeRequest,
)
from ..disk_images import DiskImages
from .clock import NEVER, SkewedClock, VirtualClock
from .snapshot import seeded
from .world import EVERY, BalancerEntry, Behaviour, Latencies, Machine, World, needed_volumes

__all__ = [  # all that tests and predictions need, by one door
    "NEVER",
    "Behaviour",
    "Latencies",
    "Machine",
    "BalancerEntry",
    "SimulatedCompute",
    "SimulatedProvider",
    "SimulatedTraffic",
    "SimulatedVolumes",
    "SkewedClock",
    "VirtualClock",
    "World",
    "seeded",
]


class SimulatedCompute:
    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, fleet: str) -> list[Instance]:
        world = self._world
        return list(
            world.read(
                "instances",
                fleet,
                lambda: [world.view(each) for each in world.machines.values() if each.instance.fleet == fleet],
            )
        )

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        """Refuses a token that was used for something else, or for what was removed since."""
        made: list[Instance] = []
        self._world.change("launch", requests, lambda request: made.append(self._launch(request)))
        return made

    def stop(self, ids: Sequence[str]) -> None:
        self._world.change("stop", ids, self._stop)

    def power_off(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine and self._world.state(machine) != STOPPED:
                machine.instance = replace(machine.instance, state=STOPPED, stopping_since=0.0)
                machine.down_since = self._world.clock.now()

        self._world.change("power_off", ids, effect)

    def start(self, ids: Sequence[str]) -> None:
        """Refuses what is not there, still shuts down or is being removed."""

        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            state = self._world.state(machine)
            if state == STOPPING or machine.leaving:
                raise ProviderError(f"instance {instance_id} is shutting down and cannot be started")
            if state == STOPPED:
                machine.instance = replace(
                    machine.instance, state=PENDING, started=self._world.clock.now(), stopping_since=0.0
                )
                machine.dies_at = NEVER

        self._world.change("start", ids, effect)

    def remove(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            if instance_id in self._world.machines:
                self._stop(instance_id)
                self._world.machines[instance_id].leaving = True

        self._world.change("remove", ids, effect)

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine:
                kept = {**machine.instance.tags, **tags}
                machine.instance = replace(
                    machine.instance, tags={name: value for name, value in kept.items() if value is not None}
                )

        self._world.change("tag", ids, effect)

    def fleets(self) -> Sequence[str]:
        def look() -> Sequence[str]:
            machines, volumes = self._world.machines.values(), self._world.volumes.values()
            return sorted({each.instance.fleet for each in machines} | {each.fleet for each in volumes})

        return self._world.read("fleets", "", look)

    def console(self, instance_id: str) -> str:
        world = self._world
        return world.read(
            "console",
            instance_id,
            lambda: f"{instance_id}: the last line of its console\n" if instance_id in world.machines else "",
        )

    def _stop(self, instance_id: str) -> None:
        machine = self._world.machines.get(instance_id)
        if machine and self._world.state(machine) in (PENDING, RUNNING):
            now = self._world.clock.now()
            machine.instance = replace(machine.instance, state=STOPPING, stopping_since=now)
            machine.down_since = now

    def _launch(self, request: LaunchRequest) -> Instance:
        world, token = self._world, request.token
        if token in world.spent:
            raise ProviderError(f"token {token} belonged to an instance that was removed")
        if token in world.machines:
            found = world.machines[token].instance
            if (found.fleet, found.slot, found.image, found.launch) != (
                request.fleet,
                request.slot,
                request.image,
                request.launch,
            ):
                raise ProviderError(f"token {token} was used for another launch")
            return world.view(world.machines[token])
        for volume_id in request.volumes:
            _check_attach(world, volume_id, token, request.zone)
        machine = _made(request, world.clock.now())
        machine.latencies, machine.behaviour = world.fate(request)
        world.machines[token] = machine
        for volume_id in request.volumes:
            world.volumes[volume_id] = replace(
                world.volumes[volume_id], attached_to=token, attached_at=world.clock.now()
            )
        return world.view(machine)


class SimulatedVolumes:
    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, fleet: str) -> list[Volume]:
        world = self._world
        return list(
            world.read("volumes", fleet, lambda: [volume for volume in world.volumes.values() if volume.fleet == fleet])
        )

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        """The same fleet, slot and name is the same volume."""
        made: list[Volume] = []

        def effect(request: VolumeRequest) -> None:
            volume_id = f"{request.fleet}/{request.slot}-{request.name}"
            if volume_id not in self._world.volumes:
                volume = Volume(volume_id, request.fleet, request.slot, request.name, request.size, kind=request.kind)
                self._world.volumes[volume_id] = volume
                self._world.volume_zones[volume_id] = request.zone
            made.append(self._world.volumes[volume_id])

        self._world.change("create_volumes", requests, effect)
        return made

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        def effect(volume_id: str) -> None:
            world = self._world
            machine, now = world.machines.get(instance_id), world.clock.now()
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            if world.volumes.get(volume_id) and world.volumes[volume_id].attached_to == instance_id:
                return
            if machine.leaving or world.state(machine) == STOPPING:
                raise ProviderError(f"instance {instance_id} is shutting down and takes no volume")
            _check_attach(world, volume_id, instance_id, machine.instance.zone)
            world.volumes[volume_id] = replace(world.volumes[volume_id], attached_to=instance_id, attached_at=now)
            machine.volumes_ready_since = now

        self._world.change("attach", volume_ids, effect)

    def detach(self, volume_ids: Sequence[str]) -> None:
        def effect(volume_id: str) -> None:
            volume = _volume(self._world, volume_id)
            holder = self._world.machines.get(volume.attached_to or "")
            if holder and self._world.state(holder) != STOPPED:
                raise ProviderError(f"volume {volume_id} is in use by {volume.attached_to}")
            self._world.volumes[volume_id] = replace(volume, attached_to=None, attached_at=0.0)

        self._world.change("detach", volume_ids, effect)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str) -> None:
        def effect(volume_id: str) -> None:
            volume = _volume(self._world, volume_id)
            if volume.attached_to:
                raise ProviderError(f"volume {volume_id} is attached to {volume.attached_to} and cannot be modified")
            if size < volume.size:
                raise ProviderError(f"volume {volume_id} has {volume.size} bytes and cannot shrink to {size}")
            self._world.volumes[volume_id] = replace(volume, size=size, kind=kind or volume.kind)

        self._world.change("modify_volumes", volume_ids, effect)

    def remove(self, volume_ids: Sequence[str]) -> None:
        def effect(volume_id: str) -> None:
            if volume_id in self._world.volumes and self._world.volumes[volume_id].attached_to:
                raise ProviderError(f"volume {volume_id} is attached")
            self._world.volumes.pop(volume_id, None)
            self._world.volume_zones.pop(volume_id, None)

        self._world.change("remove_volumes", volume_ids, effect)


class SimulatedTraffic:
    """One fleet's balancer."""

    shared = False

    def __init__(self, world: World, fleet: str) -> None:
        self._world = world
        self._fleet = fleet

    def ensure(self) -> bool:
        fresh = not self._world.balances(self._fleet)
        if fresh:
            self._world.change("ensure", [self._fleet], self._world.balancers.add)
        return fresh

    def members(self) -> list[Member]:
        return list(self._world.read("members", self._fleet, self._members))

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        """A balancer that forgets checks a draining member anew, as if it had never been there."""

        def effect(instance_id: str) -> None:
            self._needs_balancer()
            now, place = self._world.clock.now(), self._world.members.get(instance_id)
            if place is None or (place.draining and self._world.forgets):
                self._world.members[instance_id] = BalancerEntry(now, staged=staged, joined=now, fleet=self._fleet)
            elif place.draining or (place.staged and not staged):
                self._serve(place, staged)

        self._world.change("register", list(endpoints), effect)

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """Refuses to put in service what is no member."""

        def effect(_switch: str) -> None:
            self._needs_balancer()
            missing = [each for each in on if each not in self._world.members]
            if missing:
                raise TrafficError(f"no members of the balancer: {', '.join(missing)}")
            for instance_id in on:
                place = self._world.members[instance_id]
                if place.staged or place.draining:
                    self._serve(place, staged=False)
            for instance_id in off:
                self._drain(instance_id, NEVER)

        self._world.change("switch", ["all at once"], effect)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        self._world.change("drain", ids, lambda instance_id: self._drain(instance_id, timeout))

    def deregister(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            self._world.members.pop(instance_id, None)

        self._world.change("deregister", ids, effect)

    def remove(self) -> None:
        def effect(fleet: str) -> None:
            self._world.balancers -= {fleet, EVERY}
            for instance_id in [each for each, place in self._world.members.items() if place.fleet in ("", fleet)]:
                del self._world.members[instance_id]

        if self._world.balances(self._fleet):
            self._world.change("remove_traffic", [self._fleet], effect)

    def describe(self) -> dict[str, Any]:
        return {"kind": "simulated", "endpoint": "http://192.0.2.254/"}

    def _members(self) -> list[Member]:
        if not self._world.balances(self._fleet):
            return []
        return [
            self._world.member(each, place)
            for each, place in self._world.members.items()
            if place.fleet in ("", self._fleet)
        ]

    def _needs_balancer(self) -> None:
        if not self._world.balances(self._fleet):
            raise TrafficError("the balancer is not there")

    def _serve(self, place: BalancerEntry, staged: bool) -> None:
        """Checks went on all the while, so what passes them serves at once."""
        place.joined = place.since if place.joined is None else place.joined
        place.since, place.draining, place.staged, place.forget_at = self._world.clock.now(), False, staged, NEVER

    def _drain(self, instance_id: str, timeout: float) -> None:
        place, now = self._world.members.get(instance_id), self._world.clock.now()
        if place is None:
            return
        place.forget_at = min(place.forget_at, now + timeout)
        if place.draining:
            return
        place.joined = place.since if place.joined is None else place.joined
        if not place.staged:  # what was staged never had a request
            place.busy_until = now + self._world.latencies_of(self._world.machines.get(instance_id)).drain
        place.since, place.draining, place.staged = now, True, False


class SimulatedProvider:
    """``clock``: as the controller that asks sees the time, where that is not the world's."""

    name = "simulated"
    longest_call = 0.0

    def __init__(self, world: World | None = None, clock: Clock | None = None) -> None:
        self.world = world or World()
        self.compute = SimulatedCompute(self.world)
        self.volumes = SimulatedVolumes(self.world)
        self.images = DiskImages()  # it pretends to boot what was baked for QEMU
        self.clock: Clock = clock or self.world.clock
        self.pace: Pace | None = None
        self.leftovers: Leftovers | None = None
        self.pin_secrets: PinSecrets | None = None

    def traffic(self, fleet: str) -> SimulatedTraffic:
        return SimulatedTraffic(self.world, fleet)

    def describe(self) -> dict[str, Any]:
        return {"provider": self.name, "warnings": ["simulated: no machine runs"]}

    def probe(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        """The prober that belongs to it."""
        machines, ids = self.world.machines, tuple(each.id for each in instances)

        def look() -> dict[str, bool | str]:
            return {each: (each in machines and self.world.healthy(machines[each])) or "no answer" for each in ids}

        return dict(self.world.read("probe", ids, look))


def _made(request: LaunchRequest, now: float) -> Machine:
    instance = Instance(
        id=request.token,
        fleet=request.fleet,
        slot=request.slot,
        image=request.image,
        launch=request.launch,
        state=PENDING,
        purpose=request.purpose,
        created=now,
        nonce=request.nonce,
        endpoints={port: ("192.0.2.1", port) for port in request.ports},
        tags=dict(request.tags),
        started=now,
        zone=request.zone,
    )
    return Machine(instance, needed_volumes(instance), volumes_ready_since=now)


def _volume(world: World, volume_id: str) -> Volume:
    if volume_id not in world.volumes:
        raise ProviderError(f"there is no volume {volume_id}")
    return world.volumes[volume_id]


def _check_attach(world: World, volume_id: str, instance_id: str, zone: str) -> None:
    volume, stands_in = _volume(world, volume_id), world.volume_zones.get(volume_id, "")
    if volume.attached_to is not None:
        raise ProviderError(f"volume {volume_id} is attached to {volume.attached_to} already")
    if zone and stands_in and zone != stands_in:
        raise ProviderError(f"volume {volume_id} is in zone {stands_in}, and {instance_id} in zone {zone}")
