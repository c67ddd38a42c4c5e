# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A whole history as data: the fleet that is found, what is asked for, and what goes wrong when.

What a case prints is Python that makes it again, and tells only what differs from the ordinary.
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
STATES: dict[str, InstanceState] = {"off": STOPPED, "stopping": STOPPING}
IMAGES = {
    "good": Behavior(),
    "sick": Behavior(gets_healthy=False),
    "dumb": Behavior(boots=False),
    "wrong": Behavior(seals_as=OLD),
    "flaps": Behavior(flap_seconds=25.0),
    "brief": Behavior(healthy_for=40.0),
    "deaf": Behavior(stops=False),  # good, but never obeys an orderly shut-down
}


class Short:
    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # as Hypothesis asks for it
        printer.text(repr(self))

    def __repr__(self) -> str:
        told = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(cast(Any, self))
            if getattr(self, each.name) != each.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class Found(Short):
    """An instance of the fleet that is there from the start."""

    slot: int = 0
    image: str = OLD
    state: str = "on"  # on | booting | off | stopping
    member: str = "up"  # up (where it is well) | drain | staged | "" for none
    never_healthy: bool = False
    dies: float = 0.0  # seconds from now; 0 for never
    age: float = 10_000.0
    mark: str = ""  # tainted | protected | standby
    swap: int = 0  # serial of the swap that launched it; 0 for the one before, -1 for none


@dataclass(frozen=True, repr=False)
class Disk(Short):
    slot: int = 0
    holder: int = 0  # which of the slot's instances has it; beyond them: none
    size: int = SIZE


@dataclass(frozen=True, repr=False)
class Fault(Short):
    """``at``: call (changing), read, store or wait, each counted over all runs. ``what``: see ``trial.Trial``."""

    at: str = "call"
    number: int = 0
    what: str = "refused"
    then: float = 0.0  # seconds that pass, or by which a clock jumps, or which instance it meets


@dataclass(frozen=True, repr=False)
class Case(Short):
    strategy: Strategy | Literal["absent"] = "rolling"
    size: int = 2
    image: str = "good"  # see IMAGES
    data: bool = False
    surge: int = 1
    unavailable: int = 0  # with data one more
    count_draining: bool = True
    hot: bool = False
    keep_old: float = 0.0
    stages: tuple[tuple[int, float, bool], ...] = ()  # (instances, soak, approval)
    zones: tuple[str, ...] = ()
    max_age: float = 0.0
    protected: Policy = "wait"
    standby: Policy = "wait"
    deadline: float = 0.0
    known: int = 0  # size of the swap to the old image that went well before; 0 where none is known
    relaunch: bool = True  # whether instances of the old image can be launched again
    balancing: bool = True
    forgets_drained: bool = False
    tells: bool = True  # whether the balancer tells what is in flight
    slow_calls: float = 0.0  # seconds of each changing call
    surely_dead: bool = True  # whether one controller can see that another one is dead, and need not wait for its lease
    skew: float = 0.0  # seconds by which the first controller's clock is ahead
    found: tuple[Found, ...] = ()
    disks: tuple[Disk, ...] = ()
    stray: bool = False
    foreign: bool = False  # another fleet and a verification beside it
    faults: tuple[Fault, ...] = ()


def world_of(case: Case, world: World) -> World:
    """Fill it."""
    world.balancing, world.forgets_drained, world.reports_in_flight = case.balancing, case.forgets_drained, case.tells
    world.behaviors = {NEW: IMAGES[case.image]}
    world.latencies = replace(world.latencies, call=case.slow_calls)
    for number, each in enumerate(case.found):
        _put(world, case, f"{FLEET}-{each.slot}-found-{number}", each)
    for disk in case.disks if case.data else ():
        there = [machine.instance.id for machine in world.machines.values() if machine.instance.slot == disk.slot]
        holder = there[disk.holder] if disk.holder < len(there) else None
        volume = Volume(
            f"{FLEET}/{disk.slot}-uploads",
            FLEET,
            disk.slot,
            "uploads",
            disk.size,
            holder,
            NOW - 100.0 if holder else 0.0,
        )
        world.volumes[volume.id] = volume
    if case.stray and case.balancing:
        world.members["gone"] = BalancerEntry(NOW - 100.0, fleet=FLEET)
    if case.foreign:
        _foreign(world)
    return world


def _put(world: World, case: Case, name: str, found: Found) -> None:
    booting = found.state == "booting"
    started = NOW - (1.0 if booting else min(found.age, 9_000.0))
    tags = {"volumes": "uploads" if case.data else "", "port": "8080"}
    if found.swap >= 0 and case.known:  # or that swap would be the present one
        tags["swap"] = str(found.swap)
    if found.mark:
        tags[found.mark] = "by hand"
    instance = Instance(
        id=name,
        fleet=FLEET,
        slot=found.slot,
        image=found.image,
        launch=launch_of(found.image),
        state=STATES.get(found.state, PENDING),
        purpose="fleet",
        created=NOW - found.age,
        nonce="n",
        endpoints={8080: ("192.0.2.1", 8080)},
        tags=tags,
        started=started,
        stopping_since=NOW - 1.0 if found.state == "stopping" else 0.0,
        zone=case.zones[found.slot % len(case.zones)] if case.zones else "",
    )
    crashes_at = NOW + found.dies if found.dies else NEVER
    world.machines[name] = SimulatedMachine(instance, int(case.data), started, crashes_at, found.never_healthy)
    if case.balancing and found.member:
        world.members[name] = BalancerEntry(
            NOW - 100.0, draining=found.member == "drain", staged=found.member == "staged", fleet=FLEET
        )


def _foreign(world: World) -> None:
    strangers: tuple[tuple[str, str, Purpose], ...] = (("mail-0", OTHER, "fleet"), ("probation", FLEET, "verify"))
    for name, fleet, purpose in strangers:
        instance = Instance(
            name,
            fleet,
            0,
            OLD,
            "l",
            PENDING,
            purpose,
            NOW - 500.0,
            "n",
            {8080: ("192.0.2.1", 8080)},
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
        unavailable=case.unavailable + case.data,
        count_draining=case.count_draining,
        volumes=_specs(case),
        zones=case.zones,
        keep_old=case.keep_old,
        hot=case.hot,
        stages=tuple(Stage(min(number, case.size), soak, approval=approval) for number, soak, approval in case.stages),
        alarm=Metric(command=("alarm",), every=1.0) if any(fault.what == "alarm" for fault in case.faults) else None,
        deadline=case.deadline,
        max_age=case.max_age,
        protected=case.protected,
        standby=case.standby,
        origin_problem="" if case.relaunch else "how it was launched is not known any more",
    )
    payload = Payload(ports=(8080,), tags={"port": "8080"})
    return Request("shop", "local", intent, payload, payload if case.relaunch else None)


def intent_before(case: Case) -> Intent | None:
    """Of the swap that ended well before the history begins."""
    if not case.known:
        return None
    return Intent(
        FLEET,
        image=OLD,
        image_name="old",
        launch=launch_of(OLD),
        size=case.known,
        volumes=_specs(case),
        begun=True,
        status=DONE,
    )


def origin_of(case: Case) -> Version | None:
    before = intent_before(case)
    return before.target if before else None


def _specs(case: Case) -> tuple[VolumeSpec, ...]:
    return (VolumeSpec("uploads", SIZE, "/data"),) if case.data else ()
