# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A provider of thought: instances, volumes and a balancer in memory, under a virtual clock.

It is stricter than a cloud where a cloud would forgive (a second attach raises), so that a plan cannot lean on kindness.
Check mode runs on it to predict a swap, and the tests run every promise on it, with faults before and after each effect.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ProviderError, TrafficError
from .base import PENDING, RUNNING, STOPPED, Evidence, Instance, LaunchRequest, Member, Volume, VolumeRequest

NEVER = float("inf")
LOOK_EVERY = 60.0  # seconds: its clock knows of every event and stops there, so looks between them would see nothing new


@dataclass(frozen=True)
class Latencies:
    """Seconds."""

    boot: float = 30.0  # from launch or start to the sealed evidence
    health: float = 3.0  # from there, or from the last volume, to the first passing probe
    check: float = 2.0  # from registration to the balancer's word
    drain: float = 2.0  # until nothing is in flight
    stop: float = 5.0


@dataclass(frozen=True)
class Behaviour:
    """How instances of one image fare."""

    boots: bool = True
    seals_as: str | None = None  # another digest than it should
    gets_healthy: bool = True


@dataclass
class _Machine:
    instance: Instance
    needs: int  # volumes its service waits for
    whole_since: float  # when it last got a volume
    dies_at: float = NEVER
    ailing: bool = False  # it never gets healthy, whatever its image does


@dataclass
class _Place:
    """A member of the balancer."""

    since: float
    draining: bool = False


class VirtualClock:
    """Time passes only by ``wait``, and jumps to the next event within it."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self.events: Callable[[], list[float]] = list

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float) -> None:
        ahead = [at for at in self.events() if self._now < at < NEVER]
        self._now = min([*ahead, self._now + max(0.0, seconds)])

    def pass_by(self, seconds: float) -> None:
        self._now += seconds


def _nothing(_call: str) -> None:
    """The fault hook of a world without faults."""


@dataclass
class World:
    """What there is, apart from who asks. It outlives any engine, as a cloud does."""

    latencies: Latencies = field(default_factory=Latencies)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)  # by image digest
    clock: VirtualClock = field(default_factory=VirtualClock)
    machines: dict[str, _Machine] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    members: dict[str, _Place] = field(default_factory=dict)
    balancing: bool = False
    before: Callable[[str], None] = _nothing  # fault hooks: either may raise, ``before`` or after the effect
    after: Callable[[str], None] = _nothing
    calls: list[str] = field(default_factory=list)  # changing calls, in order

    def __post_init__(self) -> None:
        self.clock.events = self._events

    def change(self, call: str, effect: Callable[[], None]) -> None:
        self.calls.append(call)
        self.before(call)
        effect()
        self.after(call)

    def state(self, machine: _Machine) -> str:
        if machine.instance.state == STOPPED or self.clock.now() >= machine.dies_at:
            return STOPPED
        return RUNNING if self._sealed_at(machine) <= self.clock.now() else PENDING

    def healthy(self, machine: _Machine) -> bool:
        return self.state(machine) == RUNNING and self._healthy_at(machine) <= self.clock.now()

    def view(self, machine: _Machine) -> Instance:
        state = self.state(machine)
        instance = machine.instance
        seals_as = self._behaviour(machine).seals_as or instance.image
        evidence = Evidence(seals_as, instance.nonce, "", "restricted") if state == RUNNING else None
        return replace(instance, state=state, evidence=evidence)

    def held(self, instance_id: str) -> list[str]:
        return [volume.id for volume in self.volumes.values() if volume.attached_to == instance_id]

    def member(self, instance_id: str, place: _Place) -> Member:
        machine = self.machines.get(instance_id)
        up_at = self._up_at(machine, place) if machine else NEVER
        up = up_at <= self.clock.now() and machine is not None and self.healthy(machine)
        state = "drain" if place.draining else "up" if up else "down"
        busy = place.draining and self.clock.now() < place.since + self.latencies.drain
        return Member(instance_id, state, 1 if busy or state == "up" else 0, place.since if state != "up" else up_at)

    def _behaviour(self, machine: _Machine) -> Behaviour:
        return self.behaviours.get(machine.instance.image, Behaviour())

    def _sealed_at(self, machine: _Machine) -> float:
        return machine.instance.started + self.latencies.boot if self._behaviour(machine).boots else NEVER

    def _healthy_at(self, machine: _Machine) -> float:
        if machine.ailing or not self._behaviour(machine).gets_healthy or len(self.held(machine.instance.id)) < machine.needs:
            return NEVER
        return max(self._sealed_at(machine), machine.whole_since) + self.latencies.health

    def _up_at(self, machine: _Machine, place: _Place) -> float:
        return max(self._healthy_at(machine), place.since) + self.latencies.check

    def _events(self) -> list[float]:
        machines = self.machines.values()
        events = [at for machine in machines for at in (self._sealed_at(machine), self._healthy_at(machine), machine.dies_at)]
        for instance_id, place in self.members.items():
            machine = self.machines.get(instance_id)
            events.append(place.since + self.latencies.drain)
            if machine:
                events.append(self._up_at(machine, place))
        return events


class SimulatedCompute:
    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, fleet: str) -> list[Instance]:
        world = self._world
        return [world.view(machine) for machine in world.machines.values() if machine.instance.fleet == fleet]

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        def effect() -> None:
            for request in requests:
                if request.token not in world.machines:
                    world.machines[request.token] = self._make(request)

        world = self._world
        world.change("launch", effect)
        return [world.view(world.machines[request.token]) for request in requests]

    def stop(self, ids: Sequence[str], timeout: float) -> None:
        def effect() -> None:
            for machine in self._find(ids):
                machine.instance = replace(machine.instance, state=STOPPED)

        self._world.change("stop", effect)
        self._world.clock.pass_by(min(timeout, self._world.latencies.stop))

    def start(self, ids: Sequence[str]) -> None:
        def effect() -> None:
            for machine in self._find(ids):
                if self._world.state(machine) == STOPPED:
                    machine.instance = replace(machine.instance, state=PENDING, started=self._world.clock.now())
                    machine.dies_at = NEVER

        self._world.change("start", effect)

    def remove(self, ids: Sequence[str]) -> None:
        def effect() -> None:
            for instance_id in ids:
                self._world.machines.pop(instance_id, None)
                for volume_id in self._world.held(instance_id):
                    self._world.volumes[volume_id] = replace(self._world.volumes[volume_id], attached_to=None, attached_at=0.0)

        self._world.change("remove", effect)

    def console(self, instance_id: str) -> str:
        return f"{instance_id}: the last line of its console\n" if instance_id in self._world.machines else ""

    def _find(self, ids: Sequence[str]) -> Sequence[_Machine]:
        return [self._world.machines[each] for each in ids if each in self._world.machines]

    def _make(self, request: LaunchRequest) -> _Machine:
        now = self._world.clock.now()
        for volume_id in request.volumes:
            self._world.volumes[volume_id] = _attached(self._world.volumes[volume_id], request.token, now)
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
        )
        return _Machine(instance, needs=needed_volumes(instance), whole_since=now)


class SimulatedVolumes:
    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, fleet: str) -> list[Volume]:
        return [volume for volume in self._world.volumes.values() if volume.fleet == fleet]

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        made = [Volume(f"{each.fleet}/{each.slot}-{each.name}", each.fleet, each.slot, each.name, each.size) for each in requests]

        def effect() -> None:
            for volume in made:
                self._world.volumes.setdefault(volume.id, volume)

        self._world.change("create_volumes", effect)
        return made

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        def effect() -> None:
            machine = self._world.machines[instance_id]
            now = self._world.clock.now()
            for volume_id in volume_ids:
                self._world.volumes[volume_id] = _attached(self._world.volumes[volume_id], instance_id, now)
            machine.whole_since = now

        self._world.change("attach", effect)

    def detach(self, volume_ids: Sequence[str]) -> None:
        def effect() -> None:
            for volume_id in volume_ids:
                volume = self._world.volumes[volume_id]
                holder = self._world.machines.get(volume.attached_to or "")
                if holder and self._world.state(holder) != STOPPED:
                    raise ProviderError(f"volume {volume_id} is in use by {volume.attached_to}")
                self._world.volumes[volume_id] = replace(volume, attached_to=None, attached_at=0.0)

        self._world.change("detach", effect)

    def remove(self, volume_ids: Sequence[str]) -> None:
        def effect() -> None:
            for volume_id in volume_ids:
                if volume_id in self._world.volumes and self._world.volumes[volume_id].attached_to:
                    raise ProviderError(f"volume {volume_id} is attached")
                self._world.volumes.pop(volume_id, None)

        self._world.change("remove_volumes", effect)


class SimulatedTraffic:
    def __init__(self, world: World) -> None:
        self._world = world

    def ensure(self) -> bool:
        fresh = not self._world.balancing
        if fresh:
            self._world.change("ensure", lambda: setattr(self._world, "balancing", True))
        return fresh

    def members(self) -> list[Member]:
        return [self._world.member(instance_id, place) for instance_id, place in self._world.members.items()]

    def register(self, endpoints: Mapping[str, tuple[str, int]]) -> None:
        def effect() -> None:
            if not self._world.balancing:
                raise TrafficError("the balancer is not there")
            for instance_id in endpoints:
                self._world.members[instance_id] = _Place(self._world.clock.now())

        self._world.change("register", effect)

    def drain(self, ids: Sequence[str]) -> None:
        def effect() -> None:
            for instance_id in ids:
                self._world.members[instance_id] = _Place(self._world.clock.now(), draining=True)

        self._world.change("drain", effect)

    def deregister(self, ids: Sequence[str]) -> None:
        def effect() -> None:
            for instance_id in ids:
                self._world.members.pop(instance_id, None)

        self._world.change("deregister", effect)

    def remove(self) -> None:
        def effect() -> None:
            self._world.balancing = False
            self._world.members.clear()

        if self._world.balancing:
            self._world.change("remove_traffic", effect)

    def describe(self) -> dict[str, Any]:
        return {"kind": "simulated", "endpoint": "http://192.0.2.254/"}


class SimulatedProvider:
    name = "simulated"

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.compute = SimulatedCompute(self.world)
        self.volumes = SimulatedVolumes(self.world)
        self.clock = self.world.clock

    def traffic(self, fleet: str) -> SimulatedTraffic:  # noqa: ARG002  one world has one balancer
        return SimulatedTraffic(self.world)

    def describe(self) -> dict[str, Any]:
        return {"provider": self.name, "warnings": ["simulated: no machine runs"]}

    def probe(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        """The prober that belongs to it."""
        machines = self.world.machines
        passed = {each.id: each.id in machines and self.world.healthy(machines[each.id]) for each in instances}
        return {instance_id: ok or "no answer" for instance_id, ok in passed.items()}


def _attached(volume: Volume, instance_id: str, now: float) -> Volume:
    if volume.attached_to is not None:
        raise ProviderError(f"volume {volume.id} is attached to {volume.attached_to} already")
    return replace(volume, attached_to=instance_id, attached_at=now)


def needed_volumes(instance: Instance) -> int:
    """How many volumes its service waits for, by the tag that the engine gives."""
    return len([name for name in instance.tags.get("volumes", "").split(",") if name])


def seeded(instances: Sequence[Instance], volumes: Sequence[Volume], members: Sequence[Member], healthy: set[str], now: float, latencies: Latencies) -> World:
    """A world that begins as another one was observed, for predictions."""
    world = World(latencies=latencies, clock=VirtualClock(now), balancing=True)
    world.volumes.update({volume.id: volume for volume in volumes})
    for instance in instances:
        long_up = instance.started if instance.state == PENDING else now - latencies.boot - latencies.health - latencies.check
        began = replace(instance, started=long_up)
        ailing = instance.state == RUNNING and instance.id not in healthy and len(world.held(instance.id)) >= needed_volumes(instance)
        world.machines[instance.id] = _Machine(began, needed_volumes(instance), whole_since=long_up, ailing=ailing)
    for member in members:
        since = now - latencies.check if member.state == "up" else now
        world.members[member.id] = _Place(since, draining=member.state == "drain")
    return world
