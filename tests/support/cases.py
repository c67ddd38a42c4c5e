# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A history as data: the fleet at the start, the request, and what goes wrong at which moment.

The ``repr`` of a case is Python code that creates it. It shows only what differs from the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Metric,
    Policy,
    Stage,
    Strategy,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import (
    DONE,
    Intent,
    Payload,
    Request,
    Version,
    VolumeSpec,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Instance,
    InstanceState,
    Purpose,
    Volume,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import NEVER
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    BalancerEntry,
    Behavior,
    SimulatedMachine,
    World,
)

NOW = 1_000_000.0
FLEET, OTHER = "shop-local", "mail-local"
OLD, NEW, THIRD = "sha256:old", "sha256:new", "sha256:third"
SIZE = 1024  # bytes of a volume
Moment = Literal["call", "read", "store", "wait"]
STATES: dict[str, InstanceState] = {"off": STOPPED, "stopping": STOPPING}
IMAGES = {
    "good": Behavior(),
    "unhealthy": Behavior(gets_healthy=False),
    "unbootable": Behavior(boots=False),
    "mislabeled": Behavior(seals_as=OLD),
    "flapping": Behavior(flap_seconds=25.0),
    "short-lived": Behavior(healthy_for=40.0),
    "dead at launch": Behavior(dies_after=2.0),
    "unstoppable": Behavior(stops=False),  # good, but ignores an orderly shutdown
}
# After such a fault the provider may refuse a call although the engine did nothing wrong.
DISTURBING = {
    "stale",
    "crashes",
    "unhealthy",
    "removed",
    "dies",
    "deregistered",
    "frozen",
    "frozen after",
    "overtaken",
    "clock jump",
    "killed midway",
    "partial",
}


class ShortRepr:
    """A dataclass whose ``repr`` leaves out the fields with their default values."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # Hypothesis prints failing examples by this method
        printer.text(repr(self))

    def __repr__(self) -> str:
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(cast(Any, self))
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


@dataclass(frozen=True, repr=False)
class InitialInstance(ShortRepr):
    """An instance that the fleet has at the start."""

    slot: int = 0
    image: str = OLD
    state: Literal["on", "booting", "off", "stopping"] = "on"
    member: Literal["up", "drain", "staged", ""] = "up"  # "up" if it is healthy; "" for no member
    never_healthy: bool = False
    crashes_after: float = 0.0  # seconds from the start; 0 for never
    age: float = 10_000.0
    mark: Literal["tainted", "protected", "standby", ""] = ""
    swap: int = 0  # serial of the swap that launched it; 0 for the previous one, -1 for none


@dataclass(frozen=True, repr=False)
class InitialVolume(ShortRepr):
    """A volume that the fleet has at the start."""

    slot: int = 0
    holder: int = 0  # index of the slot's instance that it is attached to; an index beyond them: none
    size: int = SIZE


@dataclass(frozen=True, repr=False)
class Fault(ShortRepr):
    """Something that goes wrong. See ``trial`` for the kinds.

    ``number`` counts the changing calls, the reads, the accesses to the store or the waits of all runs.
    """

    at: Moment = "call"
    number: int = 0
    kind: str = "refused"
    value: float = 0.0  # seconds that pass or by which the clock jumps, or the index of the instance


@dataclass(frozen=True, repr=False)
class Case(ShortRepr):
    """One history."""

    strategy: Strategy | Literal["absent"] = "rolling"
    size: int = 2
    image: str = "good"  # a key of IMAGES
    data: bool = False
    surge: int = 1
    unavailable: int = 0  # with data or the strategy reimage one more
    count_draining: bool = True
    hot: bool = False
    while_stopped: bool = False  # whether the provider replaces the roots of stopped instances
    keep_old: float = 0.0
    stages: tuple[tuple[int, float, bool], ...] = ()  # (instances, soak, approval)
    zones: tuple[str, ...] = ()
    max_age: float = 0.0
    protected: Policy = "wait"
    standby: Policy = "wait"
    deadline: float = 0.0
    previous_size: int = 0  # of the last successful swap, to the old image; 0 if none is known
    can_relaunch: bool = True  # whether instances of the old image can be launched again
    balancing: bool = True
    forgets_drained: bool = False
    reports_in_flight: bool = True
    completes_removals: bool = True  # whether the provider removes by itself what has shut down
    call_seconds: float = 0.0  # that each changing call takes
    calls_count: bool = False  # whether the engine reads no more than it needs, as at a cloud
    deaths_are_known: bool = (
        True  # whether a controller can see that another one is dead, and need not wait for its lease
    )
    clock_skew: float = 0.0  # seconds by which the first controller's clock is ahead
    instances: tuple[InitialInstance, ...] = ()
    volumes: tuple[InitialVolume, ...] = ()
    stray_member: bool = False
    foreign_instances: bool = False  # of another fleet and of a verification
    faults: tuple[Fault, ...] = ()


def fill_world(case: Case, world: World) -> None:
    """Create what exists when the history begins."""
    world.balancing, world.forgets_drained = case.balancing, case.forgets_drained
    world.reports_in_flight = case.reports_in_flight
    world.completes_removals = case.completes_removals
    world.replaces_in = STOPPED if case.while_stopped else RUNNING
    world.behaviors = {NEW: IMAGES[case.image]}
    world.latencies = replace(world.latencies, call=case.call_seconds)
    for number, initial in enumerate(case.instances):
        _add_instance(world, case, f"{FLEET}-{initial.slot}-found-{number}", initial)
    for volume in case.volumes if case.data else ():
        _add_volume(world, volume)
    if case.stray_member and case.balancing:
        world.members["gone"] = BalancerEntry(NOW - 100.0, fleet=FLEET)
    if case.foreign_instances:
        _add_foreign_instances(world)


def _add_volume(world: World, initial: InitialVolume) -> None:
    names = [name for name, machine in world.machines.items() if machine.instance.slot == initial.slot]
    holder = names[initial.holder] if initial.holder < len(names) else None
    volume = Volume(
        id=f"{FLEET}/{initial.slot}-uploads",
        fleet=FLEET,
        slot=initial.slot,
        name="uploads",
        size=initial.size,
        attached_to=holder,
        attached_at=NOW - 100.0 if holder else 0.0,
    )
    world.volumes[volume.id] = volume


def _add_instance(world: World, case: Case, name: str, initial: InitialInstance) -> None:
    booting = initial.state == "booting"
    started = NOW - (1.0 if booting else min(initial.age, 9_000.0))
    tags = {"volumes": "uploads" if case.data else "", "port": "8080"}
    if initial.swap >= 0 and case.previous_size:  # without a previous swap, this serial is the present one's
        tags["swap"] = str(initial.swap)
    if initial.mark:
        tags[initial.mark] = "by hand"
    instance = Instance(
        id=name,
        fleet=FLEET,
        slot=initial.slot,
        image=initial.image,
        launch=launch_of(initial.image),
        state=STATES.get(initial.state, PENDING),
        purpose="fleet",
        created=NOW - initial.age,
        nonce="n",
        endpoints={8080: ("192.0.2.1", 8080)},
        tags=tags,
        started=started,
        stopping_since=NOW - 1.0 if initial.state == "stopping" else 0.0,
        zone=case.zones[initial.slot % len(case.zones)] if case.zones else "",
    )
    world.machines[name] = SimulatedMachine(
        instance,
        volumes_needed=int(case.data),
        volumes_ready_since=started,
        crashes_at=NOW + initial.crashes_after if initial.crashes_after else NEVER,
        never_healthy=initial.never_healthy,
    )
    if case.balancing and initial.member:
        world.members[name] = BalancerEntry(
            NOW - 100.0, draining=initial.member == "drain", staged=initial.member == "staged", fleet=FLEET
        )


def _add_foreign_instances(world: World) -> None:
    instances: tuple[tuple[str, str, Purpose], ...] = (("mail-0", OTHER, "fleet"), ("probation", FLEET, "verify"))
    for name, fleet, purpose in instances:
        instance = Instance(
            id=name,
            fleet=fleet,
            slot=0,
            image=OLD,
            launch="l",
            state=PENDING,
            purpose=purpose,
            created=NOW - 500.0,
            nonce="n",
            endpoints={8080: ("192.0.2.1", 8080)},
            started=NOW - 500.0,
        )
        world.machines[name] = SimulatedMachine(instance, volumes_ready_since=NOW - 500.0)
    world.members["mail-0"] = BalancerEntry(NOW - 400.0, fleet=OTHER)


def launch_of(image: str) -> str:
    return f"launch-{image[7:]}"


def request_of(case: Case, image: str = NEW) -> Request:
    if case.strategy == "absent":
        return Request("shop", "local", Intent(FLEET, goal="absent", size=0))
    intent = Intent(
        fleet=FLEET,
        strategy=case.strategy,
        image=image,
        image_name=image[7:],
        launch=launch_of(image),
        size=case.size,
        surge=case.surge,
        unavailable=case.unavailable + (case.data or case.strategy == "reimage"),
        count_draining=case.count_draining,
        volumes=_specs(case),
        zones=case.zones,
        keep_old=case.keep_old,
        hot=case.hot,
        stages=tuple(Stage(min(number, case.size), soak, approval=approval) for number, soak, approval in case.stages),
        alarm=Metric(command=("alarm",), every=1.0) if any(fault.kind == "alarm" for fault in case.faults) else None,
        deadline=case.deadline,
        max_age=case.max_age,
        protected=case.protected,
        standby=case.standby,
        origin_problem="" if case.can_relaunch else "how it was launched is not known any more",
    )
    payload = Payload(ports=(8080,), tags={"port": "8080"})
    return Request(
        service="shop", target="local", intent=intent, payload=payload, origin=payload if case.can_relaunch else None
    )


def intent_before(case: Case) -> Intent | None:
    """The intent of the last swap before the history, which succeeded. None if there was none."""
    if not case.previous_size:
        return None
    return Intent(
        FLEET,
        image=OLD,
        image_name="old",
        launch=launch_of(OLD),
        size=case.previous_size,
        volumes=_specs(case),
        begun=True,
        status=DONE,
    )


def origin_of(case: Case) -> Version | None:
    """The version to roll back to."""
    before = intent_before(case)
    return before.target if before else None


def _specs(case: Case) -> tuple[VolumeSpec, ...]:
    return (VolumeSpec("uploads", SIZE, "/data"),) if case.data else ()
