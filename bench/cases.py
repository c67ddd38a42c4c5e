# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The swaps that are measured, and for each the time that nothing can go below which does the same in the same order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Stage
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies

SIZES = (10, 100, 1000)
WAVES = 10  # with the surges below, at each size
TOGETHER, CROWD = (
    25,
    100,
)  # most volumes that move at a time: in cases with goals, and in the case that shows the cost of more
SOAK = 300.0


@dataclass(frozen=True)
class Formula:
    text: str
    seconds: Callable[[Latencies, int], float]  # of the latencies and the number of waves
    why: str
    gap: str = ""  # the time in which nobody serves, where there is one


@dataclass(frozen=True)
class Case:
    name: str  # cases of one name differ in size alone
    size: int
    formula: Formula
    most_calls: int  # in a wave (with volumes that move: for a volume)
    intent: Mapping[str, Any] = field(default_factory=dict)
    waves: int = WAVES
    forgets_drained: bool = True
    volumes: int = 0  # that move


def _h(t: Latencies) -> float:
    return t.health + t.check


COUNTED = Formula(
    "W·(L+H+D) + S",
    lambda t, w: w * (t.boot + _h(t) + t.drain) + t.stop,
    "draining instances count toward the ceiling, so a wave starts when the previous one has drained; "
    "instances that shut down do not count, so S occurs once",
)
UNCOUNTED = Formula(
    "W·(L+H) + D + S",
    lambda t, w: w * (t.boot + _h(t)) + t.drain + t.stop,
    "draining instances do not count toward the ceiling (`count_draining: false`), "
    "so a wave starts when the previous one serves",
)
CANARY = Formula(
    "W·(L+H+D) + S + soaks − 2·D",
    lambda t, w: w * (t.boot + _h(t) + t.drain) + t.stop + 2 * SOAK - 2 * t.drain,
    "as rolling, with two stages (10% and 50%); a soak starts as soon as the stage serves, "
    "while the replaced instances drain",
)
WHOLE = Formula(
    "L + H + D + S",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "the second fleet boots and is checked, all traffic moves to it, the first fleet drains and is removed",
)
COLD = Formula(
    "D + S + L + H",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "all old instances are down before the first new one is launched",
    gap="D + S + L + H",
)
HOT = Formula(
    "L + D + S + H",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "the new instances boot first (and, without data, pass their probes); "
    "they are registered with the load balancer when the old ones are down",
    gap="D + S + H",
)
DATA = Formula(
    "L + (W−1)·(D + max(S+H, L)) + D + S + H",
    lambda t, w: t.boot + (w - 1) * (t.drain + max(t.stop + _h(t), t.boot)) + t.drain + t.stop + _h(t),
    "the volume moves when the old host is down, and H starts then; with as much surge as slots in motion, "
    "the next host is launched when the old one starts its shutdown, and boots in the meantime",
)
DATA_AHEAD = Formula(
    "L + V·(D + S + H)",
    lambda t, w: t.boot + w * (t.drain + t.stop + _h(t)),
    "one volume at a time (`unavailable: 1`), with spare surge: all boots except the first are hidden",
)


def cases(sizes: tuple[int, ...] = SIZES) -> list[Case]:
    return [case for size in sizes for case in _of_size(size)] + _singletons() + ([_ahead()] if 100 in sizes else [])


def _of_size(size: int) -> list[Case]:
    surge = size // WAVES
    stages = (Stage(size // 10, soak=SOAK), Stage(size // 2, soak=SOAK))
    return [
        Case("rolling", size, COUNTED, 4, {"surge": surge}),
        Case("rolling, balancer keeps drained members", size, COUNTED, 5, {"surge": surge}, forgets_drained=False),
        Case("rolling, draining not counted", size, UNCOUNTED, 4, {"surge": surge, "count_draining": False}),
        Case("canary", size, CANARY, 4, {"strategy": "canary", "surge": surge, "stages": stages}),
        Case("blue_green", size, WHOLE, 4, {"strategy": "blue_green", "surge": size}, waves=1),
        Case("recreate", size, COLD, 5, {"strategy": "recreate", "surge": 0, "unavailable": size}, waves=1),
        Case(
            "recreate, hot",
            size,
            HOT,
            5,
            {"strategy": "recreate", "hot": True, "surge": size, "unavailable": size},
            waves=1,
        ),
        _moving(size, min(surge, TOGETHER)),
    ]


def crowded() -> Case:
    return _moving(SIZES[-1], CROWD)


def _moving(size: int, together: int) -> Case:
    changes = {"data": True, "surge": together, "unavailable": together}
    return Case("rolling, a volume in each slot", size, DATA, 7, changes, waves=size // together, volumes=size)


def _singletons() -> list[Case]:
    one = {"data": True, "strategy": "recreate"}
    return [
        Case("recreate, one slot with a volume", 1, COLD, 7, {**one, "surge": 0}, waves=1, volumes=1),
        Case("recreate, hot, one slot with a volume", 1, HOT, 7, {**one, "hot": True, "surge": 1}, waves=1, volumes=1),
    ]


def _ahead() -> Case:
    return Case("rolling, volume by volume", 100, DATA_AHEAD, 7, {"data": True, "surge": 10}, waves=100, volumes=100)
