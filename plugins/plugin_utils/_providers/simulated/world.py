# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is in a simulated cloud, and what becomes of it as time passes. Who asks is no part of it.

Machines, volumes and members are what a test may put there as it likes. Nothing about them is remembered that could be computed:
every answer is made from them and the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ..contract import PENDING, RUNNING, STOPPED, STOPPING, Evidence, Instance, LaunchRequest, Member, Volume
from .clock import NEVER, VirtualClock
from .volume_index import VolumeIndex

EVERY = "*"  # in World.balancers: every fleet has one
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Latencies:
    """Seconds."""

    boot: float = 30.0  # from launch or start to the sealed evidence
    health: float = 3.0  # from there, or from the last volume, to the first passing probe
    check: float = 2.0  # from registration to the balancer's word
    drain: float = 2.0  # until nothing is in flight
    stop: float = 5.0  # of an orderly shut-down
    call: float = 0.0  # of each changing call


@dataclass(frozen=True)
class Behaviour:
    """How instances of one image fare, or one machine."""

    boots: bool = True
    seals_as: str | None = None  # another digest than it should
    gets_healthy: bool = True
    stops: bool = True  # False: it never obeys an orderly shut-down
    flaps: float = 0.0  # seconds for which it is healthy, then is not, and so on; 0 for steady health
    lasts: float = NEVER  # seconds of its health, from when it first got healthy in this boot


@dataclass
class Machine:
    instance: Instance  # its state here is what it was told: PENDING for on, STOPPING, STOPPED
    needs: int = 0  # volumes its service waits for
    volumes_ready_since: float = 0.0  # when it last got a volume
    dies_at: float = NEVER
    ailing: bool = False  # it never gets healthy, whatever its image does
    leaving: bool = False  # told to go: gone once it is down
    down_since: float = 0.0  # when it was last told to stop or cut off
    latencies: Latencies | None = None  # its own; None for the world's
    behaviour: Behaviour | None = None  # its own; None for its image's
    seen: Instance | None = None  # the last view of it, and what that was made of
    seen_of: tuple[Instance, str, str] | None = None


@dataclass
class BalancerEntry:
    """A member of a balancer."""

    since: float  # when it was registered, or told to drain
    draining: bool = False
    staged: bool = False
    joined: float | None = None  # when its checks began; None for ``since``
    busy_until: float = 0.0  # until when something is in flight although it drains
    forget_at: float = NEVER  # when a balancer that forgets does so at the latest
    fleet: str = ""  # "" for every fleet's


def needed_volumes(instance: Instance) -> int:
    """How many volumes its service waits for, by the tag that the engine gives."""
    return len([name for name in instance.tags.get("volumes", "").split(",") if name])


def _nothing(_name: str) -> None:
    """The hook of a world without faults."""


def _fresh(_kind: str) -> bool:
    return False


class World:
    """It outlives any engine, as a cloud does. All hooks may be replaced at any time, and may raise.

    ``before``, ``between`` and ``after`` get the name of the changing call: before any effect, between the effects of a bulk call, after all.
    ``reading`` gets the kind of a read (instances, volumes, members, probe, fleets, console) before it is answered. Where ``stale`` says True,
    the read gets the answer of the read of that kind before it, if that asked for the same.
    """

    def __init__(
        self,
        latencies: Latencies | None = None,
        behaviours: Mapping[str, Behaviour] | None = None,
        clock: VirtualClock | None = None,
        balancing: bool = False,
        forgets: bool = False,
    ) -> None:
        self.latencies = latencies or Latencies()
        self.behaviours = dict(behaviours or {})  # by image digest
        self.clock = clock or VirtualClock()
        self.forgets = forgets  # whether a drained member goes by itself
        self.tells_in_flight = True
        self.machines: dict[str, Machine] = {}
        self._shelf = VolumeIndex()
        self.volume_zones: dict[str, str] = {}  # by volume id
        self.members: dict[str, BalancerEntry] = {}
        self.balancers: set[str] = {EVERY} if balancing else set()  # fleets that have one
        self.spent: set[str] = set()  # tokens of what was removed
        self.fate: Callable[[LaunchRequest], tuple[Latencies | None, Behaviour | None]] = lambda _request: (
            None,
            None,
        )  # of each new machine
        self.before: Callable[[str], None] = _nothing
        self.between: Callable[[str], None] = _nothing
        self.after: Callable[[str], None] = _nothing
        self.reading: Callable[[str], None] = _nothing
        self.stale: Callable[[str], bool] = _fresh
        self.calls: list[str] = []  # changing calls, in order
        self.reads: Counter[str] = Counter()  # by kind
        self._answers: dict[str, tuple[Hashable, object]] = {}
        self.clock.next_event, self.clock.moved = self.next_event, self.settle

    @property
    def volumes(self) -> MutableMapping[str, Volume]:
        return self._shelf

    @volumes.setter
    def volumes(self, volumes: MutableMapping[str, Volume]) -> None:
        self._shelf = VolumeIndex(volumes)

    @property
    def balancing(self) -> bool:
        return bool(self.balancers)

    @balancing.setter
    def balancing(self, on: bool) -> None:
        self.balancers = {EVERY} if on else set()

    def balances(self, fleet: str) -> bool:
        return fleet in self.balancers or EVERY in self.balancers

    def lose_members(self, balancing: bool = True) -> None:
        """As after a restart of the balancers, or with ``balancing=False`` their loss."""
        self.members.clear()
        if not balancing:
            self.balancers.clear()

    # What is asked of it.

    def change(self, call: str, items: Iterable[Item], effect: Callable[[Item], None]) -> None:
        """One changing call, of any number of effects."""
        self.calls.append(call)
        self.before(call)
        self.clock.pass_by(self.latencies.call)
        for number, item in enumerate(items):
            if number:
                self.between(call)
            effect(item)
        self.settle()
        self.after(call)

    def read(self, kind: str, asked: Hashable, look: Callable[[], Answer]) -> Answer:
        self.reads[kind] += 1
        self.reading(kind)
        if self.stale(kind) and kind in self._answers and self._answers[kind][0] == asked:
            return self._answers[kind][1]  # type: ignore[return-value]  # the same kind has the same type
        self.settle()
        answer = look()
        self._answers[kind] = (asked, answer)
        return answer

    # What is so now.

    def state(self, machine: Machine) -> str:
        told, now = machine.instance.state, self.clock.now()
        if told == STOPPED or now >= machine.dies_at:
            return STOPPED
        if told == STOPPING:
            return STOPPED if now >= self._down_at(machine) else STOPPING
        return RUNNING if self._sealed_at(machine) <= now else PENDING

    def healthy(self, machine: Machine) -> bool:
        return self.state(machine) == RUNNING and self._health(machine)[0]

    def view(self, machine: Machine) -> Instance:
        """The machine as its provider describes it. The same object as before where nothing changed."""
        state, instance = self.state(machine), machine.instance
        sealed = state == RUNNING or (state == STOPPING and self._sealed_at(machine) <= instance.stopping_since)
        digest = (self._behaviour(machine).seals_as or instance.image) if sealed else ""
        of = machine.seen_of
        if machine.seen is None or of is None or of[0] is not instance or of[1] != state or of[2] != digest:
            evidence = Evidence(digest, instance.nonce, "", "restricted") if sealed else None
            since = instance.stopping_since if state == STOPPING else 0.0
            machine.seen = replace(instance, state=state, evidence=evidence, stopping_since=since)
            machine.seen_of = (instance, state, digest)
        return machine.seen

    def held(self, instance_id: str) -> list[str]:
        """Ids of the volumes it has."""
        return list(self._shelf.held(instance_id))

    def member(self, instance_id: str, place: BalancerEntry) -> Member:
        now, machine = self.clock.now(), self.machines.get(instance_id)
        up_at = self._up_at(machine, place) if machine else NEVER
        passing = machine is not None and up_at <= now and self.state(machine) == RUNNING
        busy = self._busy(machine, place)
        if place.draining or place.staged:
            state, since = "drain", place.since
        elif passing:
            state, since, busy = "up", max(up_at, place.since), True
        else:
            state, since = "down", max(place.since, self._failed_at(machine) if machine else 0.0)
        leaving = self.forgets and place.draining
        return Member(instance_id, state, int(busy) if self.tells_in_flight else None, since, passing, leaving)

    # What time does.

    def settle(self) -> None:
        """Let all that is due by now be so: what was told to stop is down, what was told to go is gone, drained members are forgotten."""
        now = self.clock.now()
        for machine in [each for each in self.machines.values() if each.leaving or each.instance.state == STOPPING]:
            if self.state(machine) != STOPPED:
                continue
            if machine.leaving:
                self._gone(machine.instance.id)
            else:
                machine.instance = replace(machine.instance, state=STOPPED, stopping_since=0.0)
        if self.forgets:
            drained = [(each, place) for each, place in self.members.items() if place.draining]
            for instance_id, place in drained:
                if place.forget_at <= now or not self._busy(self.machines.get(instance_id), place):
                    del self.members[instance_id]

    def next_event(self, now: float) -> float:
        """When something changes next by itself; NEVER where nothing will."""
        soonest = NEVER
        for machine in self.machines.values():
            for at in self._turns(machine):
                if now < at < soonest:
                    soonest = at
        for instance_id, place in self.members.items():
            known = self.machines.get(instance_id)
            for at in (place.busy_until, place.forget_at, self._up_at(known, place) if known else NEVER):
                if now < at < soonest:
                    soonest = at
        return soonest

    def _gone(self, instance_id: str) -> None:
        del self.machines[instance_id]
        self.spent.add(instance_id)
        for volume_id in self.held(instance_id):
            self.volumes[volume_id] = replace(self.volumes[volume_id], attached_to=None, attached_at=0.0)

    def _turns(self, machine: Machine) -> tuple[float, ...]:
        if machine.instance.state == STOPPED:
            return ()
        if machine.instance.state == STOPPING:
            return self._down_at(machine), machine.dies_at
        return self._sealed_at(machine), machine.dies_at, self._health(machine)[2]

    def latencies_of(self, machine: Machine | None) -> Latencies:
        return (machine.latencies if machine else None) or self.latencies

    def _behaviour(self, machine: Machine) -> Behaviour:
        return machine.behaviour or self.behaviours.get(machine.instance.image, _ORDINARY)

    def _sealed_at(self, machine: Machine) -> float:
        return machine.instance.started + self.latencies_of(machine).boot if self._behaviour(machine).boots else NEVER

    def _down_at(self, machine: Machine) -> float:
        return (
            machine.instance.stopping_since + self.latencies_of(machine).stop
            if self._behaviour(machine).stops
            else NEVER
        )

    def _healthy_at(self, machine: Machine) -> float:
        """When it first gets healthy in its present boot."""
        if (
            machine.ailing
            or not self._behaviour(machine).gets_healthy
            or (machine.needs and len(self._shelf.held(machine.instance.id)) < machine.needs)
        ):
            return NEVER
        return max(self._sealed_at(machine), machine.volumes_ready_since) + self.latencies_of(machine).health

    def _health(self, machine: Machine) -> tuple[bool, float, float]:
        """Whether the service of a machine that is on is well, since when, and until when it stays so. Where it never was: since 0."""
        first, behaviour, now = self._healthy_at(machine), self._behaviour(machine), self.clock.now()
        last = first + behaviour.lasts
        if now < first:
            return False, 0.0, first
        if now >= last:
            return False, last, NEVER
        if not behaviour.flaps:
            return True, first, last
        number = int((now - first) / behaviour.flaps)
        while (
            first + number * behaviour.flaps > now
        ):  # by the same sums that make begins and ends, or rounding would lose one
            number -= 1
        while first + (number + 1) * behaviour.flaps <= now:
            number += 1
        return number % 2 == 0, first + number * behaviour.flaps, min(last, first + (number + 1) * behaviour.flaps)

    def _failed_at(self, machine: Machine) -> float:
        """Since when it is not healthy, or was not before it got well; 0 where that never was."""
        if machine.instance.state in (STOPPING, STOPPED):
            return machine.down_since
        if machine.dies_at <= self.clock.now():
            return machine.dies_at
        well, since, _until = self._health(machine)
        if well:  # its checks have not passed yet, so it is still as down as it was
            since = since - self._behaviour(machine).flaps if since > self._healthy_at(machine) else 0.0
        return max(machine.down_since, since)

    def _up_at(self, machine: Machine, place: BalancerEntry) -> float:
        """When its checks pass, if it stays as well as it is; NEVER where it is not."""
        well, since, _until = self._health(machine)
        return (
            max(since, place.since if place.joined is None else place.joined) + self.latencies_of(machine).check
            if well
            else NEVER
        )

    def _busy(self, machine: Machine | None, place: BalancerEntry) -> bool:
        """Whether something is in flight that began before it was told to drain. What is down took its connections along."""
        return machine is not None and self.clock.now() < place.busy_until and self.state(machine) != STOPPED


_ORDINARY = Behaviour()
