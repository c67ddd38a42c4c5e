# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time and memory of one ``plan`` and of one look, by fleet size. These depend on the machine, but their growth does not.

One fleet of 10,000 is compared with ten different fleets of 1,000, one after the other: the same work on as much memory, so what is
compared is the code and not the processor's caches.
"""

from __future__ import annotations

import copy
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import FrameType
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Stage
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Observed, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.plan import plan
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance, Member, Volume
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider

from .lab import FLEET, NEW, OLD, Lab, request

TraceFunction = Callable[[FrameType, str, Any], Any]
SMALL, LARGE = 1_000, 10_000
BEST_OF = 5
# What is allowed at ten times the size.
STEPS = 10.5
MEMORY = 12.0  # tables grow by doubling
TIME = 20.0  # what is large is not in the processor's caches; quadratic would be 100


@dataclass(frozen=True)
class Growth:
    """Of the best of some tries, at SMALL and at LARGE instances."""

    name: str
    seconds: tuple[float, float]  # of the processor
    memory: tuple[int, int]  # bytes at the peak, over what was there before
    steps: tuple[int, int]  # instructions of Python's bytecode

    @property
    def slower(self) -> float:
        return self.seconds[1] / self.seconds[0]

    @property
    def larger(self) -> float:
        return self.memory[1] / self.memory[0]

    @property
    def longer(self) -> float:
        return self.steps[1] / self.steps[0]


def measure_sizes() -> list[Growth]:
    planned = {
        name: (lambda size, changes=changes: _planning(size, changes)) for name, changes in _strategies().items()
    }
    return [_growth(f"plan, {name}", prepared) for name, prepared in planned.items()] + [
        _growth("observe", lambda size: _observing(size, False)),
        _growth("observe, a volume in each slot", lambda size: _observing(size, True)),
    ]


def missed(found: Sequence[Growth]) -> list[str]:
    lines = []
    for each in found:
        grown = (("time", each.slower, TIME), ("memory", each.larger, MEMORY), ("steps", each.longer, STEPS))
        lines += [
            f"{each.name}: {times:.1f} times the {what} at ten times the size, more than {most:g}"
            for what, times, most in grown
            if times > most
        ]
    return lines


def _strategies() -> dict[str, dict[str, object]]:
    """Changes to the intent, without those that depend on the size."""
    return {
        "rolling": {},
        "rolling, a volume in each slot": {"data": True},
        "rolling, three zones": {"zones": ("a", "b", "c")},
        "canary": {"strategy": "canary"},
        "blue_green": {"strategy": "blue_green"},
        "recreate": {"strategy": "recreate", "hot": True},
        "rolling back": {"back": True},
        "rolling, each slot lost an instance": {"losses": True},
    }


def _growth(name: str, prepared: Callable[[int], Callable[[], object]]) -> Growth:
    many = LARGE // SMALL
    few, all_at_once = [prepared(SMALL) for _fleet in range(many)], [prepared(LARGE)]
    small, large = _cost(few), _cost(all_at_once)
    return Growth(name, (small[0] / many, large[0]), (small[1], large[1]), (_steps(few[0]), _steps(all_at_once[0])))


def _steps(work: Callable[[], object]) -> int:
    """The same on every machine with this Python; what a single instruction does inside it does not show."""
    count = 0

    def each(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal count
        count += event == "opcode"
        return each

    def begin(frame: FrameType, _event: str, _argument: object) -> TraceFunction:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _cost(works: list[Callable[[], object]]) -> tuple[float, int]:
    """Seconds of all, bytes of one. The collector of garbage rests meanwhile: it looks at the whole process, not at this work alone."""
    gc.collect()
    gc.disable()
    try:
        times = []
        for _try in range(BEST_OF):
            began = time.process_time()
            kept = [work() for work in works]
            times.append(time.process_time() - began)
            del kept
        tracemalloc.start()
        works[0]()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    finally:
        gc.enable()
    return min(times), peak


def _planning(size: int, changes: dict[str, object]) -> Callable[[], object]:
    changes = dict(changes)
    back, data = bool(changes.pop("back", False)), bool(changes.pop("data", False))
    losses = bool(changes.pop("losses", False))
    whole = changes.get("strategy") in ("blue_green", "recreate")
    if changes.get("strategy") == "canary":
        changes["stages"] = (Stage(size // 2, soak=300.0), Stage(size))
    asked = request(NEW, size, data, surge=size if whole else size // 10, unavailable=size // 10, **changes).intent
    origin = Version(OLD, "old", launch="launch-old", size=size, volumes=asked.volumes)
    observed = _half_way(size, data)
    intent: Intent = replace(
        asked,
        begun=True,
        origin=origin,
        serial=1,
        first=1,
        started=observed.at,
        resumed=observed.at,
        reached=observed.at,
    )
    if losses:
        intent = intent.with_retries(range(size))
    if back:
        intent = intent.begin_rollback("told to", "", ())
    return lambda: plan(observed, intent, observed.at)


def _half_way(size: int, data: bool) -> Observed:
    """Half of the slots have new instances, a tenth of them beside the old ones. Drawn from a fleet that an engine launched."""
    observed, at = copy.deepcopy(_launched(size, data).observed), _launched(size, data).at
    views = []
    for view in observed.instances:
        new = replace(view, id=f"{view.id}-new", image=NEW, launch="launch-new", swap=1)
        if view.slot < size // 2 - size // 10:
            views.append(new)
        elif view.slot < size // 2:
            views += [view, replace(new, volumes=())]
        else:
            views.append(view)
    return replace(observed, at=at, instances=tuple(views))


@dataclass(frozen=True)
class _Launched:
    """A fleet as its cloud lists it and as the engine sees it."""

    instances: list[Instance]
    volumes: list[Volume]
    members: list[Member]
    observed: Observed
    at: float


@lru_cache(maxsize=4)
def _launched(size: int, data: bool) -> _Launched:
    lab = Lab()
    lab.measure(request(OLD, size, data))
    provider, traffic = lab.provider, lab.provider.traffic(FLEET)
    observed = Observer(provider, traffic, provider.probe, FLEET).observe()
    return _Launched(
        provider.compute.list(FLEET),
        provider.volumes.list(FLEET),
        members=traffic.members(),
        observed=observed,
        at=provider.clock.now(),
    )


class _Still(SimulatedProvider):
    """A cloud that answers at once, so that the observer's own work is measured."""

    def __init__(self, launched: _Launched) -> None:
        super().__init__()
        self.compute.list = lambda fleet: launched.instances  # type: ignore[method-assign]  # noqa: ARG005
        self.volumes.list = lambda fleet: launched.volumes  # type: ignore[method-assign]  # noqa: ARG005
        self.balancer = self.traffic(FLEET)
        self.balancer.members = lambda: launched.members  # type: ignore[method-assign]


def _observing(size: int, data: bool) -> Callable[[], object]:
    fleet = copy.deepcopy(_launched(size, data))
    provider = _Still(fleet)
    passed: dict[str, bool | str] = dict.fromkeys([each.id for each in fleet.instances], True)
    return lambda: Observer(provider, provider.balancer, lambda _asked: passed, FLEET).observe()
