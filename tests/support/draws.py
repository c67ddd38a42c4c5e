# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hypothesis strategies for cases. The ordinary stands first in each choice, so that what is left of a shrunk case is what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from .cases import NEW, OLD, SIZE, THIRD, Case, Disk, Fault, Found

SIZES = st.sampled_from([1, 2, 2, 3, 3, 4, 8])
EVENTS = ["dies", "ails", "vanishes", "forgotten"]
ERRORS = {
    "call": ["refused", "half", "lost", "slow", "late"],
    "read": ["throttled", "slow"],
    "store": ["refused", "lost"],
    "wait": [],
}
KILLS = {
    "call": ["killed", "killed half", "killed done"],
    "read": ["killed"],
    "store": ["killed", "killed done"],
    "wait": ["killed"],
}
STALE = {"read": ["stale"]}
HAPPENS = dict.fromkeys(("call", "read", "wait"), EVENTS)
RIVALS = {
    "call": ["frozen", "frozen done", "usurped"],
    "wait": ["frozen", "usurped"],
    "store": ["frozen", "frozen done"],
}
MOST = {"call": 30, "read": 150, "store": 25, "wait": 20}
THEN = st.sampled_from([0.0, 1.0, 2.0, 20.0, 45.0, 100.0, 400.0])


def faults(*kinds: dict[str, list[str]], most: int = 4) -> st.SearchStrategy[tuple[Fault, ...]]:
    choices = sorted({(at, what) for kind in kinds for at, whats in kind.items() for what in whats})
    one = st.sampled_from(choices).flatmap(
        lambda each: st.builds(
            Fault, at=st.just(each[0]), number=st.integers(0, MOST[each[0]]), what=st.just(each[1]), then=THEN
        )
    )
    return st.lists(one, max_size=most, unique_by=lambda fault: (fault.at, fault.number)).map(tuple)


JUMPS = st.lists(
    st.builds(
        Fault,
        at=st.sampled_from(["wait", "read"]),
        number=st.integers(0, 60),
        what=st.just("jump"),
        then=st.sampled_from([3.0, -3.0, 400.0, -400.0, 5000.0]),
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
        what=st.sampled_from(["alarm", "revoked"]),
    ),
    min_size=1,
    max_size=1,
).map(tuple)


def founds(size: int, images: list[str], odd: bool) -> st.SearchStrategy[Found]:
    if not odd:
        return st.builds(
            Found,
            slot=st.integers(0, size),
            image=st.sampled_from(images),
            member=st.sampled_from(["up", "up", "", "drain"]),
            age=st.sampled_from([10_000.0, 50.0]),
        )
    return st.builds(
        Found,
        slot=st.integers(0, size),
        image=st.sampled_from(images),
        state=st.sampled_from(["on", "on", "on", "booting", "off", "stopping"]),
        member=st.sampled_from(["up", "up", "", "drain", "staged"]),
        never_healthy=st.sampled_from([False, False, True]),
        dies=st.sampled_from([0.0, 0.0, 0.0, 40.0]),
        age=st.sampled_from([10_000.0, 10_000.0, 50.0]),
        mark=st.sampled_from(["", "", "", "tainted", "protected", "standby"]),
        swap=st.sampled_from([0, 0, -1]),
    )


@st.composite
def cases(
    draw: st.DrawFn,
    injected: st.SearchStrategy[tuple[Fault, ...]] | None = None,
    images: Sequence[str] = ("good",),
    strategies: Sequence[Any] = ("rolling", "canary", "blue_green", "recreate"),
    odd: bool = True,
    known: int | None = None,
    whole: bool | None = None,
    moving: bool = True,
) -> Case:
    """``odd``: whether instances may be ill from the start. ``whole``: the fleet that is found is complete and well, one for each slot."""
    strategy, size = draw(st.sampled_from(strategies)), draw(SIZES)
    data = strategy not in ("blue_green", "absent") and draw(st.booleans())
    before = known if known is not None else draw(st.sampled_from([0, size, size, max(1, size - 1), size + 1]))
    if whole or (whole is None and draw(st.booleans())):
        before = before or size
        found = tuple(Found(slot=slot) for slot in range(before))
        disks = tuple(Disk(slot=slot) for slot in range(before)) if data else ()
    else:
        found = tuple(
            draw(
                st.lists(
                    founds(size, [OLD, OLD, OLD, NEW, THIRD] if odd else [OLD], odd),
                    max_size=2 * size if size < 8 else 9,
                )
            )
        )
        one = st.builds(
            Disk,
            slot=st.integers(0, size),
            holder=st.sampled_from([0, 0, 1, 9]),
            size=st.sampled_from([SIZE, SIZE, SIZE // 2]),
        )
        disks = tuple(draw(st.lists(one, max_size=size + 1, unique_by=lambda disk: disk.slot))) if data else ()
    return Case(
        strategy=strategy,
        size=size,
        image=draw(st.sampled_from(images)),
        data=data,
        surge=max(size, before) if strategy == "blue_green" else draw(st.sampled_from([1, 1, 2, size])),
        unavailable=draw(st.sampled_from([0, 0, 1])),
        count_draining=draw(st.sampled_from([True, True, False])),
        hot=strategy == "recreate" and draw(st.booleans()),
        keep_old=draw(st.sampled_from([0.0, 60.0])) if strategy == "blue_green" else 0.0,
        stages=_stages(draw, size) if strategy == "canary" else (),
        zones=draw(st.sampled_from([(), (), ("a", "b")])),
        max_age=draw(st.sampled_from([0.0, 0.0, 5_000.0])) if moving else 0.0,
        protected=draw(st.sampled_from(["replace", "replace", "wait", "ignore"])),
        standby=draw(st.sampled_from(["replace", "replace", "wait", "ignore"])),
        deadline=draw(st.sampled_from([0.0, 0.0, 0.0, 200.0])) if odd else 0.0,
        known=before,
        relaunch=draw(st.sampled_from([True, True, False])),
        balancing=draw(st.sampled_from([True, True, True, False])),
        forgets_drained=draw(st.booleans()),
        tells=draw(st.sampled_from([True, True, False])),
        slow_calls=draw(st.sampled_from([0.0, 0.0, 2.0])),
        surely_dead=draw(st.booleans()),
        skew=draw(st.sampled_from([0.0, 0.0, 0.0, 2.0, -2.0])),
        found=found,
        disks=disks,
        stray=draw(st.booleans()),
        foreign=draw(st.booleans()),
        faults=draw(injected) if injected is not None else (),
    )


def _stages(draw: st.DrawFn, size: int) -> tuple[tuple[int, float, bool], ...]:
    if size < 2:
        return ((1, draw(st.sampled_from([0.0, 30.0])), draw(st.booleans())),)
    return ((1, draw(st.sampled_from([0.0, 30.0])), draw(st.booleans())), (max(1, size - 1), 10.0, False))
