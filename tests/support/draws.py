# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hypothesis strategies for cases.

The ordinary value is the first of each choice. Hypothesis shrinks to it, so a shrunk case shows only what matters.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from .cases import NEW, OLD, SIZE, THIRD, Case, Fault, InitialInstance, InitialVolume

SIZES = st.sampled_from([1, 2, 2, 3, 3, 4, 8])
EVENT_KINDS = ["crashes", "unhealthy", "removed", "dies", "deregistered"]
ERRORS = {
    "call": ["refused", "partial", "lost", "timeout", "timeout after"],
    "read": ["throttled", "timeout"],
    "store": ["refused", "lost"],
    "wait": [],
}
KILLS = {
    "call": ["killed", "killed midway", "killed after"],
    "read": ["killed"],
    "store": ["killed", "killed after"],
    "wait": ["killed"],
}
ALL = ("rolling", "canary", "blue_green", "recreate", "reimage")
STRATEGIES = tuple(filter(None, [os.environ.get("SOAK_STRATEGY")])) or ALL
STALE = {"read": ["stale"]}
EVENTS = dict.fromkeys(("call", "read", "wait"), EVENT_KINDS)
RIVALS = {
    "call": ["frozen", "frozen after", "overtaken"],
    "wait": ["frozen", "overtaken"],
    "store": ["frozen", "frozen after"],
}
LAST_NUMBER = {"call": 30, "read": 150, "store": 25, "wait": 20}
VALUES = st.sampled_from([0.0, 1.0, 2.0, 20.0, 45.0, 100.0, 400.0])


def faults(*sources: dict[str, list[str]], most: int = 4) -> st.SearchStrategy[tuple[Fault, ...]]:
    """Up to ``most`` faults at different moments. Each source maps where a fault can happen to its possible kinds."""
    choices = sorted({(at, kind) for source in sources for at, kinds in source.items() for kind in kinds})
    one = st.sampled_from(choices).flatmap(
        lambda choice: st.builds(
            Fault,
            at=st.just(choice[0]),
            number=st.integers(0, LAST_NUMBER[choice[0]]),
            kind=st.just(choice[1]),
            value=VALUES,
        )
    )
    return st.lists(one, max_size=most, unique_by=lambda fault: (fault.at, fault.number)).map(tuple)


JUMPS = st.lists(
    st.builds(
        Fault,
        at=st.sampled_from(["wait", "read"]),
        number=st.integers(0, 60),
        kind=st.just("clock jump"),
        value=st.sampled_from([3.0, -3.0, 400.0, -400.0, 5000.0]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda fault: (fault.at, fault.number),
).map(tuple)
VERDICTS = st.lists(
    st.builds(
        Fault,
        at=st.sampled_from(["wait", "call"]),
        number=st.integers(0, 15),
        kind=st.sampled_from(["alarm", "revoked"]),
    ),
    min_size=1,
    max_size=1,
).map(tuple)


def initial_instances(size: int, images: list[str], irregular: bool) -> st.SearchStrategy[InitialInstance]:
    if not irregular:
        return st.builds(
            InitialInstance,
            slot=st.integers(0, size),
            image=st.sampled_from(images),
            member=st.sampled_from(["up", "up", "", "drain"]),
            age=st.sampled_from([10_000.0, 50.0]),
        )
    return st.builds(
        InitialInstance,
        slot=st.integers(0, size),
        image=st.sampled_from(images),
        state=st.sampled_from(["on", "on", "on", "booting", "off", "stopping"]),
        member=st.sampled_from(["up", "up", "", "drain", "staged"]),
        never_healthy=st.sampled_from([False, False, True]),
        crashes_after=st.sampled_from([0.0, 0.0, 0.0, 40.0]),
        age=st.sampled_from([10_000.0, 10_000.0, 50.0]),
        mark=st.sampled_from(["", "", "", "tainted", "protected", "standby"]),
        swap=st.sampled_from([0, 0, -1]),
    )


@st.composite
def cases(
    draw: st.DrawFn,
    injected: st.SearchStrategy[tuple[Fault, ...]] | None = None,
    images: Sequence[str] = ("good",),
    strategies: Sequence[Any] = STRATEGIES,
    irregular: bool = True,
    complete: bool | None = None,
) -> Case:
    """A history of one fleet.

    Args:
        injected: the faults.
        irregular: whether instances may be stopped, unhealthy, marked or of unknown images at the start.
        complete: whether the initial fleet has one healthy instance in each slot; None for either.
    """
    strategy, size = draw(st.sampled_from(strategies)), draw(SIZES)
    data = strategy not in ("blue_green", "absent") and draw(st.booleans())
    previous_size = draw(st.sampled_from([0, size, size, max(1, size - 1), size + 1]))
    if complete or (complete is None and draw(st.booleans())):
        previous_size = previous_size or size
        instances = tuple(InitialInstance(slot=slot) for slot in range(previous_size))
        volumes = tuple(InitialVolume(slot=slot) for slot in range(previous_size)) if data else ()
    else:
        one = initial_instances(size, [OLD, OLD, OLD, NEW, THIRD] if irregular else [OLD, OLD, NEW], irregular)
        instances = tuple(draw(st.lists(one, max_size=2 * size if size < 8 else 9)))
        volumes = _volumes(draw, size) if data else ()
    return Case(
        strategy=strategy,
        size=size,
        image=draw(st.sampled_from(images)),
        data=data,
        surge=max(size, previous_size) if strategy == "blue_green" else draw(st.sampled_from([1, 1, 2, size])),
        unavailable=draw(st.sampled_from([0, 0, 1])),
        count_draining=draw(st.sampled_from([True, True, False])),
        while_stopped=strategy == "reimage" and draw(st.booleans()),
        hot=strategy == "recreate" and draw(st.booleans()),
        keep_old=draw(st.sampled_from([0.0, 60.0])) if strategy == "blue_green" else 0.0,
        stages=_stages(draw, size) if strategy == "canary" else (),
        zones=draw(st.sampled_from([(), (), ("a", "b")])),
        max_age=draw(st.sampled_from([0.0, 0.0, 5_000.0])),
        protected=draw(st.sampled_from(["replace", "replace", "wait", "ignore"])),
        standby=draw(st.sampled_from(["replace", "replace", "wait", "ignore"])),
        deadline=draw(st.sampled_from([0.0, 0.0, 0.0, 200.0])) if irregular else 0.0,
        previous_size=previous_size,
        can_relaunch=draw(st.sampled_from([True, True, False])),
        balancing=draw(st.sampled_from([True, True, True, False])),
        forgets_drained=draw(st.booleans()),
        reports_in_flight=draw(st.sampled_from([True, True, False])),
        completes_removals=draw(st.sampled_from([True, True, False])),
        call_seconds=draw(st.sampled_from([0.0, 0.0, 2.0])),
        calls_count=draw(st.booleans()),
        deaths_are_known=draw(st.booleans()),
        clock_skew=draw(st.sampled_from([0.0, 0.0, 0.0, 2.0, -2.0])),
        instances=instances,
        volumes=volumes,
        stray_member=draw(st.booleans()),
        foreign_instances=draw(st.booleans()),
        faults=draw(injected) if injected is not None else (),
    )


def _volumes(draw: st.DrawFn, size: int) -> tuple[InitialVolume, ...]:
    one = st.builds(
        InitialVolume,
        slot=st.integers(0, size),
        holder=st.sampled_from([0, 0, 1, 9]),
        size=st.sampled_from([SIZE, SIZE, SIZE // 2]),
    )
    return tuple(draw(st.lists(one, max_size=size + 1, unique_by=lambda volume: volume.slot)))


def _stages(draw: st.DrawFn, size: int) -> tuple[tuple[int, float, bool], ...]:
    """One or two stages. As in a definition, each has more instances than the one before it."""
    first = (1, draw(st.sampled_from([0.0, 30.0])), draw(st.booleans()))
    second = draw(st.sampled_from([size - 1, size - 1, size]))
    return (first, (second, 10.0, False)) if second > 1 else (first,)
