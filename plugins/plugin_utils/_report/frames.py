# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a swap looked like at each moment, in numbers: for the capacity chart and for scrubbing. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from .lanes import Entry, Phase, Track

MAX_FRAMES = 400  # of a swap; a longer one has fewer moments than events


def capacity_of(entries: Sequence[Entry]) -> list[tuple[float, int]]:
    """Return the instances in service by time: the lowest number of each moment, and only changes."""
    found: list[tuple[float, int]] = []
    for entry in entries:
        serving = entry.serving
        if serving is None:
            continue
        if found and found[-1][0] == entry.seconds:
            found[-1] = (entry.seconds, min(found[-1][1], serving))
        elif not found or found[-1][1] != serving:
            found.append((entry.seconds, serving))
    return found


def frames_of(entries: Sequence[Entry], tracks: Sequence[Track], until: float) -> list[list[float | int | None]]:
    """Return [seconds, in service, new in service, booting or being checked, draining, unhealthy] by time.

    What the timeline does not tell is None.
    """
    moments = sorted({0.0, *(entry.seconds for entry in entries), until})
    if len(moments) > MAX_FRAMES:
        moments = [moments[index * (len(moments) - 1) // (MAX_FRAMES - 1)] for index in range(MAX_FRAMES)]
    capacity = capacity_of(entries)
    times = [at for at, _serving in capacity]
    phases = {
        name: _Counter(
            [
                (each.begin, math.inf if each.end >= until else each.end)
                for track in tracks
                for each in track.segments
                if wanted(track, each.phase)
            ]
        )
        for name, wanted in _COLUMNS.items()
    }
    frames: list[list[float | int | None]] = []
    for moment in moments:
        index = bisect_right(times, moment) - 1
        serving = capacity[max(index, 0)][1] if capacity else None
        frames.append([round(moment, 1), serving, *(counter.at(moment) for counter in phases.values())])
    return frames


class _Counter:
    """How many spans of time include a moment."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        self._begins = sorted(begin for begin, _end in spans)
        self._ends = sorted(end for _begin, end in spans)

    def at(self, moment: float) -> int:
        return bisect_right(self._begins, moment) - bisect_right(self._ends, moment)


_COLUMNS: Mapping[str, Callable[[Track, Phase], bool]] = {
    "new": lambda track, phase: track.fresh and phase == "serving",
    "starting": lambda _track, phase: phase in ("booting", "checking"),
    "draining": lambda _track, phase: phase == "draining",
    "unhealthy": lambda _track, phase: phase == "unhealthy",
}
