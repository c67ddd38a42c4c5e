# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated cloud itself: its machines, volumes and balancers, and what time does to them.

The collection sees it through ``provider``, tests change it directly. Machines, volumes and members are plain data
that a test may set as it likes. Whatever follows from them and the clock is computed for each answer, never remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ..contract import (
    DOWN,
    DRAIN,
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    UP,
    Evidence,
    Instance,
    InstanceState,
    LaunchRequest,
    Member,
    MemberState,
    Volume,
)
from ..ended_instance import EndedInstance
from ..root_state import REQUESTED
from ..tags import VOLUMES
from .clock import NEVER, VirtualClock
from .volume_index import VolumeIndex

DEATH = "the simulated cloud ended it"  # the reason of a machine that dies
ENDED_FOR = 3600.0  # seconds for which a machine that died is described
ALL_FLEETS = "*"  # in World.balancers: every fleet has one
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Latencies:
    """How long things take, in seconds."""

    boot: float = 30.0  # from launch or start to the sealed evidence
    health: float = 3.0  # from there, or from the last volume, to the first passing probe
    check: float = 2.0  # from registration to the balancer's verdict
    drain: float = 2.0  # until nothing is in flight
    stop: float = 5.0  # an orderly shutdown
    call: float = 0.0  # each changing call


@dataclass(frozen=True)
class Behavior:
    """How the instances of one image behave, or one machine."""

    boots: bool = True
    seals_as: str | None = None  # a digest other than the expected one
    gets_healthy: bool = True
    stops: bool = True  # False: it never obeys an orderly shutdown
    flap_seconds: float = 0.0  # how long it is healthy, then unhealthy, in turns; 0 for steady health
    healthy_for: float = NEVER  # seconds from when it first got healthy in this boot
    dies_after: float = NEVER  # seconds from its launch: it dies, and no longer exists


@dataclass
class SimulatedMachine:
    instance: Instance  # its state here is the requested one: PENDING for on, STOPPING, STOPPED
    volumes_needed: int = 0  # that its service waits for
    volumes_ready_since: float = 0.0  # when it last got a volume
    crashes_at: float = NEVER
    never_healthy: bool = False  # whatever its image does
    removing: bool = False  # it is removed once it is down
    down_since: float = 0.0  # when it was last asked to stop, or powered off
    latencies: Latencies | None = None  # its own; None for the world's
    behavior: Behavior | None = None  # its own; None for its image's
    last_view: Instance | None = None
    last_view_key: tuple[Instance, InstanceState, str] | None = None  # what the last view was made from


@dataclass
class BalancerEntry:
    """A member of a balancer."""

    since: float  # when it was registered, or began to drain
    draining: bool = False
    staged: bool = False
    checked_since: float | None = None  # when its checks began; None for ``since``
    busy_until: float = 0.0  # until when something is in flight although it drains
    forget_at: float = NEVER  # by when a balancer that forgets drained members removes it
    fleet: str = ""  # "" for every fleet's


def count_needed_volumes(instance: Instance) -> int:
    """How many volumes the instance's service waits for, according to the tag that the engine sets."""
    return len([name for name in instance.tags.get(VOLUMES, "").split(",") if name])


def _no_hook(_name: str) -> None:
    """The hook of a world without faults."""


def _never_stale(_kind: str) -> bool:
    return False


def _no_traits(_request: LaunchRequest) -> tuple[Latencies | None, Behavior | None]:
    return None, None


class World:
    """A cloud, which outlives any engine. All hooks may be replaced at any time, and may raise.

    ``before``, ``between`` and ``after`` get the name of a changing call: before any effect, between the effects of a
    bulk call, after all effects. ``reading`` gets the kind of a read (instances, volumes, members, probe, fleets,
    console) before it is answered. If ``stale`` returns True, a read gets the previous answer to the same question.
    ``traits_of`` returns the latencies and the behavior of each new machine, None for those of the world and the image.

    Args:
        behaviors: by image digest.
        balancing: whether every fleet has a balancer from the start.
        forgets_drained: whether balancers remove drained members by themselves.
    """

    def __init__(
        self,
        latencies: Latencies | None = None,
        behaviors: Mapping[str, Behavior] | None = None,
        clock: VirtualClock | None = None,
        balancing: bool = False,
        forgets_drained: bool = False,
    ) -> None:
        self.latencies = latencies or Latencies()
        self.behaviors = dict(behaviors or {})
        self.clock = clock or VirtualClock()
        self.forgets_drained = forgets_drained
        self.reports_in_flight = True
        self.replaces_in: InstanceState = RUNNING  # the state in which the root of a machine can be replaced
        self.completes_removals = True  # by itself, once a machine is down; otherwise another call of ``remove`` does
        self.machines: dict[str, SimulatedMachine] = {}
        self._volumes = VolumeIndex()
        self.volume_zones: dict[str, str] = {}  # by volume id
        self.members: dict[str, BalancerEntry] = {}
        self.balancers: set[str] = {ALL_FLEETS} if balancing else set()  # fleets that have one
        self.removed_tokens: set[str] = set()
        self._ended: list[tuple[float, EndedInstance]] = []  # machines that died at launch, and when
        self.traits_of: Callable[[LaunchRequest], tuple[Latencies | None, Behavior | None]] = _no_traits
        self.before: Callable[[str], None] = _no_hook
        self.between: Callable[[str], None] = _no_hook
        self.after: Callable[[str], None] = _no_hook
        self.reading: Callable[[str], None] = _no_hook
        self.stale: Callable[[str], bool] = _never_stale
        self.calls: list[str] = []  # changing calls, in order
        self.reads: Counter[str] = Counter()  # by kind
        self._answers: dict[str, tuple[Hashable, object]] = {}
        self.clock.next_event, self.clock.on_advance = self.next_event, self.settle

    @property
    def volumes(self) -> MutableMapping[str, Volume]:
        return self._volumes

    @volumes.setter
    def volumes(self, volumes: MutableMapping[str, Volume]) -> None:
        self._volumes = VolumeIndex(volumes)

    @property
    def balancing(self) -> bool:
        return bool(self.balancers)

    @balancing.setter
    def balancing(self, on: bool) -> None:
        self.balancers = {ALL_FLEETS} if on else set()

    def balances(self, fleet: str) -> bool:
        return fleet in self.balancers or ALL_FLEETS in self.balancers

    def lose_members(self, balancing: bool = True) -> None:
        """As after a restart of the balancers, or with ``balancing=False`` their loss."""
        self.members.clear()
        if not balancing:
            self.balancers.clear()

    # Calls.

    def change(self, call: str, items: Iterable[Item], effect: Callable[[Item], None]) -> None:
        """One changing call, with any number of effects."""
        self.calls.append(call)
        self.before(call)
        self.clock.advance(self.latencies.call)
        for number, item in enumerate(items):
            if number:
                self.between(call)
            effect(item)
        self.settle()
        self.after(call)

    def read(self, kind: str, question: Hashable, answer_now: Callable[[], Answer]) -> Answer:
        self.reads[kind] += 1
        self.reading(kind)
        if self.stale(kind) and kind in self._answers and self._answers[kind][0] == question:
            return self._answers[kind][1]  # type: ignore[return-value]  # the same kind has the same type
        self.settle()
        answer = answer_now()
        self._answers[kind] = (question, answer)
        return answer

    # The state at present.

    def state(self, machine: SimulatedMachine) -> InstanceState:
        requested, now = machine.instance.state, self.clock.now()
        if requested == STOPPED or now >= machine.crashes_at:
            return STOPPED
        if requested == STOPPING:
            return STOPPED if now >= self._down_at(machine) else STOPPING
        return RUNNING if self._sealed_at(machine) <= now else PENDING

    def healthy(self, machine: SimulatedMachine) -> bool:
        return self.state(machine) == RUNNING and self._health(machine)[0]

    def view(self, machine: SimulatedMachine) -> Instance:
        """The machine as its provider describes it. The same object as before if nothing changed."""
        state, instance = self.state(machine), machine.instance
        if machine.removing and state == STOPPED:
            return replace(instance, state=STOPPING, awaits_removal=True)
        sealed = state == RUNNING or (state == STOPPING and self._sealed_at(machine) <= instance.stopping_since)
        digest = (self._behavior(machine).seals_as or instance.image) if sealed else ""
        key = machine.last_view_key
        if machine.last_view is None or key is None or key[0] is not instance or key[1] != state or key[2] != digest:
            evidence = Evidence(digest, instance.nonce, "", "restricted") if sealed else None
            since = instance.stopping_since if state == STOPPING else 0.0
            machine.last_view = replace(instance, state=state, evidence=evidence, stopping_since=since)
            machine.last_view_key = (instance, state, digest)
        return machine.last_view

    def volumes_of(self, instance_id: str) -> list[str]:
        """Ids of the volumes that are attached to an instance."""
        return list(self._volumes.held_by(instance_id))

    def member(self, instance_id: str, entry: BalancerEntry) -> Member:
        now, machine = self.clock.now(), self.machines.get(instance_id)
        up_at = self._up_at(machine, entry) if machine else NEVER
        passing = machine is not None and up_at <= now and self.state(machine) == RUNNING
        busy = self._busy(machine, entry)
        state: MemberState
        if entry.draining or entry.staged:
            state, since = DRAIN, entry.since
        elif passing:
            state, since, busy = UP, max(up_at, entry.since), True
        else:
            state, since = DOWN, max(entry.since, self._failed_at(machine) if machine else 0.0)
        in_flight = int(busy) if self.reports_in_flight else None
        leaving = self.forgets_drained and entry.draining
        return Member(instance_id, state, in_flight, since, passing=passing, leaving=leaving)

    def ended(self, fleet: str) -> list[EndedInstance]:
        """What is described of machines that died at launch."""
        oldest = self.clock.now() - ENDED_FOR
        return [ended for at, ended in self._ended if ended.fleet == fleet and at > oldest]

    def die(self, machine: SimulatedMachine) -> None:
        """End a machine for good. It is described for a while, as one that died at launch unless it was sealed."""
        instance = machine.instance
        if self.state(machine) == PENDING:
            ended = EndedInstance(instance.id, instance.fleet, instance.slot, DEATH, tags=instance.tags)
            self._ended.append((self.clock.now(), ended))
        self.forget(machine)

    # The effects of time.

    def settle(self) -> None:
        """Apply everything that is due: machines that are down by now, machines to remove, members to forget."""
        now = self.clock.now()
        for machine in [one for one in self.machines.values() if self._dies_at(one) <= now]:
            self.die(machine)
        for machine in [one for one in self.machines.values() if one.removing or one.instance.state == STOPPING]:
            if self.state(machine) != STOPPED:
                continue
            if not machine.removing:
                machine.instance = replace(machine.instance, state=STOPPED, stopping_since=0.0)
            elif self.completes_removals:
                self.forget(machine)
        if self.forgets_drained:
            drained = [(instance_id, entry) for instance_id, entry in self.members.items() if entry.draining]
            for instance_id, entry in drained:
                if entry.forget_at <= now or not self._busy(self.machines.get(instance_id), entry):
                    del self.members[instance_id]

    def next_event(self, now: float) -> float:
        """When something changes next without a call; NEVER if nothing will."""
        soonest = NEVER
        for machine in self.machines.values():
            for at in self._next_changes(machine):
                if now < at < soonest:
                    soonest = at
        for instance_id, entry in self.members.items():
            known = self.machines.get(instance_id)
            for at in (entry.busy_until, entry.forget_at, self._up_at(known, entry) if known else NEVER):
                if now < at < soonest:
                    soonest = at
        return soonest

    def latencies_of(self, machine: SimulatedMachine | None) -> Latencies:
        return (machine.latencies if machine else None) or self.latencies

    def forget(self, machine: SimulatedMachine) -> None:
        """The machine no longer exists, and its volumes are free."""
        instance_id = machine.instance.id
        del self.machines[instance_id]
        self.removed_tokens.add(instance_id)
        for volume_id in self.volumes_of(instance_id):
            self.volumes[volume_id] = replace(self.volumes[volume_id], attached_to=None, attached_at=0.0)

    def _next_changes(self, machine: SimulatedMachine) -> tuple[float, ...]:
        if machine.instance.state == STOPPED:
            return ()
        dies_at = self._dies_at(machine)
        if machine.instance.state == STOPPING:
            return self._down_at(machine), machine.crashes_at, dies_at
        return self._sealed_at(machine), machine.crashes_at, self._health(machine)[2], dies_at

    def _dies_at(self, machine: SimulatedMachine) -> float:
        return machine.instance.created + self._behavior(machine).dies_after

    def _behavior(self, machine: SimulatedMachine) -> Behavior:
        return machine.behavior or self.behaviors.get(machine.instance.image, _DEFAULT_BEHAVIOR)

    def _sealed_at(self, machine: SimulatedMachine) -> float:
        if machine.instance.root.change == REQUESTED:
            return NEVER
        return machine.instance.started + self.latencies_of(machine).boot if self._behavior(machine).boots else NEVER

    def _down_at(self, machine: SimulatedMachine) -> float:
        if not self._behavior(machine).stops:
            return NEVER
        return machine.instance.stopping_since + self.latencies_of(machine).stop

    def _healthy_at(self, machine: SimulatedMachine) -> float:
        """When it first gets healthy in its present boot."""
        if machine.never_healthy or not self._behavior(machine).gets_healthy:
            return NEVER
        if machine.volumes_needed and len(self._volumes.held_by(machine.instance.id)) < machine.volumes_needed:
            return NEVER
        return max(self._sealed_at(machine), machine.volumes_ready_since) + self.latencies_of(machine).health

    def _health(self, machine: SimulatedMachine) -> tuple[bool, float, float]:
        """Whether the service of a running machine is healthy, since when, and until when that does not change.

        If it was never healthy: unhealthy since 0.
        """
        first, behavior, now = self._healthy_at(machine), self._behavior(machine), self.clock.now()
        last = first + behavior.healthy_for
        if now < first:
            return False, 0.0, first
        if now >= last:
            return False, last, NEVER
        period = behavior.flap_seconds
        if not period:
            return True, first, last
        # Compare the same sums as are returned: with a quotient alone, rounding would miss an edge.
        number = int((now - first) / period)
        while first + number * period > now:
            number -= 1
        while first + (number + 1) * period <= now:
            number += 1
        return number % 2 == 0, first + number * period, min(last, first + (number + 1) * period)

    def _failed_at(self, machine: SimulatedMachine) -> float:
        """Since when it is unhealthy, or was before it got healthy; 0 if it never failed."""
        if machine.instance.state in (STOPPING, STOPPED):
            return machine.down_since
        if machine.crashes_at <= self.clock.now():
            return machine.crashes_at
        healthy, since, _until = self._health(machine)
        if healthy:  # its checks have not passed yet, so it has been down since before
            since = since - self._behavior(machine).flap_seconds if since > self._healthy_at(machine) else 0.0
        return max(machine.down_since, since)

    def _up_at(self, machine: SimulatedMachine, entry: BalancerEntry) -> float:
        """When its checks pass if its health does not change; NEVER if it is unhealthy."""
        healthy, since, _until = self._health(machine)
        if not healthy:
            return NEVER
        checked_since = entry.since if entry.checked_since is None else entry.checked_since
        return max(since, checked_since) + self.latencies_of(machine).check

    def _busy(self, machine: SimulatedMachine | None, entry: BalancerEntry) -> bool:
        """Whether requests are in flight that began before it drained. A machine that is down has none."""
        return machine is not None and self.clock.now() < entry.busy_until and self.state(machine) != STOPPED


_DEFAULT_BEHAVIOR = Behavior()
