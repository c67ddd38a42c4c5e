# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drawing of a swap: its capacity above its lanes, one lane for each slot. Pure; the page draws it as SVG.

Bars of the same kind are one path. So the drawing of a thousand slots has a dozen elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .._summary.text import duration
from .lanes import Segment, Track, merged

WIDTH, LEFT, RIGHT = 1000.0, 84.0, 16.0
TOP, CAPACITY, GAP, AXIS = 18.0, 96.0, 22.0, 26.0  # heights
DENSE = 60  # lanes; of more, each slot is one bar without a label of its own
LANE, MOST_LANES = 22.0, 640.0  # height of a lane, and of all lanes of a dense drawing
MAX_WAVES = 40  # that are marked
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Swap:
    """What is drawn. ``floor``: instances that must stay in service; None if that is not known."""

    tracks: Sequence[Track]
    capacity: Sequence[tuple[float, int]]
    until: float
    size: int
    floor: int | None
    marks: Sequence[tuple[float, str]]  # moments, and their kind: "gate", "rollback", "wave"


def drawing(swap: Swap) -> dict[str, Any]:
    """Return the drawing as plain data: ``width``, ``height``, and lists of paths, labels and marks."""
    until = max(swap.until, 1.0)
    by_slot: dict[int, list[Track]] = {}
    for track in swap.tracks:
        by_slot.setdefault(track.slot, []).append(track)
    dense = len(by_slot) > DENSE
    lane = min(LANE, MOST_LANES / max(1, len(by_slot))) if dense else LANE
    lanes_top = TOP + CAPACITY + GAP if swap.capacity else TOP
    bottom = lanes_top + lane * len(by_slot)
    paths = _lanes(by_slot, until, lanes_top, lane)
    rows = {slot: row for row, slot in enumerate(by_slot)}
    return {
        "width": WIDTH,
        "height": round(bottom + AXIS, 1),
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "bottom": round(bottom, 1),
        "until": until,
        "dense": dense,
        "stroke": round(lane * 1.15 if dense else lane / 2 - 2.5, 2),
        "paths": [{"kind": kind, "d": "".join(parts)} for kind, parts in sorted(paths.items())],
        "deaths": [
            {"x": _x(track.died, until), "y": _y(rows[track.slot], lanes_top, lane, 0.5)}
            for track in swap.tracks
            if track.died is not None
        ][:200],
        "lanes": [
            {"y": _y(row, lanes_top, lane, 0.5), "text": f"slot {slot}", "title": _title(by_slot[slot])}
            for slot, row in rows.items()
            if not dense or row % max(1, math.ceil(len(by_slot) / 10)) == 0
        ],
        "ticks": [{"x": _x(at, until), "text": duration(at)} for at in _ticks(until)],
        "marks": [{"x": _x(at, until), "kind": kind} for at, kind in swap.marks],
        **_capacity(swap, until),
    }


def _x(at: float, until: float) -> float:
    return round(LEFT + (WIDTH - RIGHT - LEFT) * min(at, until) / until, 1)


def _y(row: int, top: float, lane: float, part: float) -> float:
    """``part``: of the lane's height."""
    return round(top + lane * (row + part), 1)


def _ticks(until: float) -> list[float]:
    step = next((step for step in _STEPS if until / step <= 8), math.ceil(until / 8))
    return [float(number * step) for number in range(int(until // step) + 1)]


def _lanes(by_slot: dict[int, list[Track]], until: float, top: float, lane: float) -> dict[str, list[str]]:
    dense = len(by_slot) > DENSE
    paths: dict[str, list[str]] = {}
    for row, tracks in enumerate(by_slot.values()):
        if dense:
            _add(paths, merged(tracks), until, _y(row, top, lane, 0.5))
            continue
        ends = [-1.0, -1.0]  # of the two rows of a lane
        for track in sorted(tracks, key=lambda track: track.begin):
            free = [number for number, end in enumerate(ends) if end <= track.begin]
            number = (int(track.fresh) if int(track.fresh) in free else free[0]) if free else int(track.fresh)
            ends[number] = max(ends[number], track.end)
            bars = [(segment, track.fresh) for segment in track.segments]
            _add(paths, bars, until, _y(row, top, lane, 0.3 + 0.4 * number))
    return paths


def _add(paths: dict[str, list[str]], bars: Iterable[tuple[Segment, bool]], until: float, y: float) -> None:
    for segment, fresh in bars:
        kind = ("new" if fresh else "old") if segment.phase == "serving" else segment.phase
        begin, end = _x(segment.begin, until), _x(segment.end, until)
        paths.setdefault(kind, []).append(f"M{begin:g} {y:g}H{max(end, begin + 0.4):g}")


def _title(tracks: Sequence[Track]) -> str:
    """What the lane shows, in words."""
    return "; ".join(
        f"{track.instance}: "
        + ", ".join(f"{each.phase} {duration(each.begin)} to {duration(each.end)}" for each in track.segments)
        for track in tracks[:6]
    )


def _capacity(swap: Swap, until: float) -> dict[str, Any]:
    if not swap.capacity:
        return {"capacity": None}
    most = max(1, swap.size, *(serving for _at, serving in swap.capacity))

    def y(count: int) -> float:
        return round(TOP + CAPACITY * (1 - count / most), 1)

    points = _spared([(_x(at, until), y(serving)) for at, serving in swap.capacity])
    line = f"M{LEFT:g} {points[0][1]:g}" + "".join(f"H{x:g}V{height:g}" for x, height in points) + f"H{WIDTH - RIGHT:g}"
    base = TOP + CAPACITY
    return {
        "capacity": {
            "line": line,
            "area": f"{line}V{base:g}H{LEFT:g}Z",
            "top": TOP,
            "base": base,
            "most": most,
            "floor": None if swap.floor is None else {"y": y(swap.floor), "count": swap.floor},
        }
    }


def _spared(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most the lowest and the last point of each position."""
    found: list[tuple[float, float]] = []
    by_x: dict[float, list[float]] = {}
    for x, y in points:
        by_x.setdefault(x, []).append(y)
    for x, ys in by_x.items():
        found += [(x, y) for y in dict.fromkeys([max(ys), ys[-1]])]
    return found
