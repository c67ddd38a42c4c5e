# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time and memory of one ``plan`` and of one observation, by fleet size.

The figures depend on the machine, but their growth does not. One fleet of 10,000 is compared with ten different fleets
of 1,000, one after the other. Both do the same work on the same amount of memory, so the comparison shows the code and
not the processor's caches.
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
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.plan import plan
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance, Member, Volume
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider

from .lab import FLEET, NEW, OLD, Lab, request

TraceFunction = Callable[[FrameType, str, Any], Any]
SMALL, LARGE = 1_000, 10_000
BEST_OF = 5
# Goals: how many times as much ten times the instances may take.
MOST_STEPS = 10.5
MOST_MEMORY = 12.0  # tables grow by doubling
MOST_TIME = 20.0  # a large fleet does not fit into the processor's caches; quadratic growth would be 100


@dataclass(frozen=True)
class Growth:
    """The cost of one operation with SMALL and with LARGE instances; the best of several runs."""

    name: str
    seconds: tuple[float, float]  # CPU time
    memory: tuple[int, int]  # peak of additional bytes
    steps: tuple[int, int]  # instructions of Python's bytecode

    @property
    def time_ratio(self) -> float:
        return self.seconds[1] / self.seconds[0]

    @property
    def memory_ratio(self) -> float:
        return self.memory[1] / self.memory[0]

    @property
    def steps_ratio(self) -> float:
        return self.steps[1] / self.steps[0]


def measure_sizes() -> list[Growth]:
    planned = {
        name: (lambda size, changes=changes: _planning(size, changes)) for name, changes in _strategies().items()
    }
    return [_growth(f"plan, {name}", prepared) for name, prepared in planned.items()] + [
        _growth("observe", lambda size: _observing(size, False)),
        _growth("observe, a volume in each slot", lambda size: _observing(size, True)),
    ]


def missed(growths: Sequence[Growth]) -> list[str]:
    """The missed goals, one line each."""
    lines = []
    for growth in growths:
        ratios = (
            ("time", growth.time_ratio, MOST_TIME),
            ("memory", growth.memory_ratio, MOST_MEMORY),
            ("steps", growth.steps_ratio, MOST_STEPS),
        )
        lines += [
            f"{growth.name}: {ratio:.1f} times the {measure} at ten times the size, more than {most:g}"
            for measure, ratio, most in ratios
            if ratio > most
        ]
    return lines


def _strategies() -> dict[str, dict[str, object]]:
    """Changes to the intent, except those that depend on the size; and ``back`` and ``losses``, see ``_planning``."""
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


def _growth(name: str, prepare: Callable[[int], Callable[[], object]]) -> Growth:
    many = LARGE // SMALL
    small_fleets, large_fleet = [prepare(SMALL) for _fleet in range(many)], [prepare(LARGE)]
    small, large = _cost(small_fleets), _cost(large_fleet)
    return Growth(
        name,
        seconds=(small[0] / many, large[0]),
        memory=(small[1], large[1]),
        steps=(_steps(small_fleets[0]), _steps(large_fleet[0])),
    )


def _steps(work: Callable[[], object]) -> int:
    """The number of bytecode instructions. It is the same on every machine with this version of Python."""
    count = 0

    def count_step(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal count
        count += event == "opcode"
        return count_step

    def begin(frame: FrameType, _event: str, _argument: object) -> TraceFunction:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return count_step

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _cost(works: list[Callable[[], object]]) -> tuple[float, int]:
    """Seconds of all, bytes of one. Garbage collection is off, because it depends on the rest of the process."""
    gc.collect()
    gc.disable()
    try:
        times = []
        for _try in range(BEST_OF):
            start = time.process_time()
            results = [work() for work in works]
            times.append(time.process_time() - start)
            del results
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
    all_at_once = changes.get("strategy") in ("blue_green", "recreate")
    if changes.get("strategy") == "canary":
        changes["stages"] = (Stage(size // 2, soak=300.0), Stage(size))
    requested = request(
        NEW, size, data, surge=size if all_at_once else size // 10, unavailable=size // 10, **changes
    ).intent
    origin = Version(OLD, "old", launch="launch-old", size=size, volumes=requested.volumes)
    observed = _half_way(size, data)
    intent: Intent = replace(
        requested,
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
        intent = intent.begin_rollback("requested", "", ())
    return lambda: plan(observed, intent, observed.at)


def _half_way(size: int, data: bool) -> Observed:
    """A fleet halfway through a swap: half of the slots have new instances, a tenth of all also their old ones."""
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
    """A fleet as the provider lists it and as the engine observes it."""

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
        instances=provider.compute.list(FLEET),
        volumes=provider.volumes.list(FLEET),
        members=traffic.members(),
        observed=observed,
        at=provider.clock.now(),
    )


class _InstantProvider(SimulatedProvider):
    """Answers at once, so that only the observer's own work is measured."""

    def __init__(self, launched: _Launched) -> None:
        super().__init__()
        self.compute.list = lambda fleet: launched.instances  # type: ignore[method-assign]  # noqa: ARG005
        self.volumes.list = lambda fleet: launched.volumes  # type: ignore[method-assign]  # noqa: ARG005
        self.balancer = self.traffic(FLEET)
        self.balancer.members = lambda: launched.members  # type: ignore[method-assign]


def _observing(size: int, data: bool) -> Callable[[], object]:
    fleet = copy.deepcopy(_launched(size, data))
    provider = _InstantProvider(fleet)
    passed: dict[str, bool | str] = dict.fromkeys([instance.id for instance in fleet.instances], True)
    return lambda: Observer(provider, provider.balancer, lambda _instances: passed, FLEET).observe()
