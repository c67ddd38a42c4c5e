# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The swaps that are measured. Each has a bound: no engine that does the same steps in the same order is faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Stage
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies

SIZES = (10, 100, 1000)
WAVES = 10  # of a swap, whatever its size: the surge is a tenth
TOGETHER = 25  # volumes that move at the same time, at most, in cases with goals
CROWD = 100  # volumes that move at the same time in the case that shows the cost of more
SOAK = 300.0


@dataclass(frozen=True)
class Bound:
    """The least time of a swap."""

    formula: str
    seconds: Callable[[Latencies, int], float]  # computed from the latencies and the number of waves
    reason: str
    gap: str = ""  # formula of the time in which no instance serves; "" if there is none


@dataclass(frozen=True)
class Case:
    """A swap to measure."""

    name: str  # cases of the same name differ only in size
    size: int
    bound: Bound
    most_calls: int  # per wave, or per volume if volumes move
    intent: Mapping[str, Any] = field(default_factory=dict)  # ``data`` and fields of the intent
    waves: int = WAVES
    forgets_drained: bool = True
    volumes: int = 0  # that move


def _h(t: Latencies) -> float:
    return t.health + t.check


COUNTED = Bound(
    "W·(L+H+D) + S",
    lambda t, w: w * (t.boot + _h(t) + t.drain) + t.stop,
    "draining instances count toward the ceiling, so a wave starts when the previous one has drained; "
    "instances that shut down do not count, so S occurs once",
)
UNCOUNTED = Bound(
    "W·(L+H) + D + S",
    lambda t, w: w * (t.boot + _h(t)) + t.drain + t.stop,
    "draining instances do not count toward the ceiling (`count_draining: false`), "
    "so a wave starts when the previous one serves",
)
CANARY = Bound(
    "W·(L+H+D) + S + soaks − 2·D",
    lambda t, w: w * (t.boot + _h(t) + t.drain) + t.stop + 2 * SOAK - 2 * t.drain,
    "like rolling, with two stages (10% and 50%); a soak starts as soon as the stage serves, "
    "while the replaced instances drain",
)
ALL_AT_ONCE = Bound(
    "L + H + D + S",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "the second fleet boots and is checked, all traffic moves to it, the first fleet drains and is removed",
)
COLD = Bound(
    "D + S + L + H",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "all old instances are down before the first new one is launched",
    gap="D + S + L + H",
)
HOT = Bound(
    "L + D + S + H",
    lambda t, _w: t.boot + _h(t) + t.drain + t.stop,
    "the new instances boot first (and, without data, pass their probes); "
    "they are registered with the load balancer when the old ones are down",
    gap="D + S + H",
)
DATA = Bound(
    "L + (W−1)·(D + max(S+H, L)) + D + S + H",
    lambda t, w: t.boot + (w - 1) * (t.drain + max(t.stop + _h(t), t.boot)) + t.drain + t.stop + _h(t),
    "the volume moves when the old host is down, and H starts then; with as much surge as slots in motion, "
    "the next host is launched when the old one starts its shutdown, and boots in the meantime",
)
DATA_AHEAD = Bound(
    "L + V·(D + S + H)",
    lambda t, w: t.boot + w * (t.drain + t.stop + _h(t)),
    "one volume at a time (`unavailable: 1`), with spare surge: all boots except the first are hidden",
)


def cases(sizes: tuple[int, ...] = SIZES) -> list[Case]:
    return (
        [case for size in sizes for case in _of_size(size)]
        + _single_slots()
        + ([_one_by_one()] if 100 in sizes else [])
    )


def _of_size(size: int) -> list[Case]:
    surge = size // WAVES
    stages = (Stage(size // 10, soak=SOAK), Stage(size // 2, soak=SOAK))
    uncounted = {"surge": surge, "count_draining": False}
    canary = {"strategy": "canary", "surge": surge, "stages": stages}
    blue_green = {"strategy": "blue_green", "surge": size}
    recreate = {"strategy": "recreate", "surge": 0, "unavailable": size}
    hot = {"strategy": "recreate", "hot": True, "surge": size, "unavailable": size}
    return [
        Case("rolling", size, COUNTED, most_calls=4, intent={"surge": surge}),
        Case(
            "rolling, balancer keeps drained members",
            size,
            COUNTED,
            most_calls=5,
            intent={"surge": surge},
            forgets_drained=False,
        ),
        Case("rolling, draining not counted", size, UNCOUNTED, most_calls=4, intent=uncounted),
        Case("canary", size, CANARY, most_calls=4, intent=canary),
        Case("blue_green", size, ALL_AT_ONCE, most_calls=4, intent=blue_green, waves=1),
        Case("recreate", size, COLD, most_calls=5, intent=recreate, waves=1),
        Case("recreate, hot", size, HOT, most_calls=5, intent=hot, waves=1),
        _moving(size, min(surge, TOGETHER)),
    ]


def crowded() -> Case:
    return _moving(SIZES[-1], CROWD)


def _moving(size: int, together: int) -> Case:
    return Case(
        "rolling, a volume in each slot",
        size,
        DATA,
        most_calls=7,
        intent={"data": True, "surge": together, "unavailable": together},
        waves=size // together,
        volumes=size,
    )


def _single_slots() -> list[Case]:
    recreate = {"data": True, "strategy": "recreate", "surge": 0}
    hot = {**recreate, "hot": True, "surge": 1}
    return [
        Case("recreate, one slot with a volume", 1, COLD, most_calls=7, intent=recreate, waves=1, volumes=1),
        Case("recreate, hot, one slot with a volume", 1, HOT, most_calls=7, intent=hot, waves=1, volumes=1),
    ]


def _one_by_one() -> Case:
    intent = {"data": True, "surge": 10}
    return Case("rolling, volume by volume", 100, DATA_AHEAD, most_calls=7, intent=intent, waves=100, volumes=100)
