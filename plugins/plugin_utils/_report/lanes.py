# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each instance did during a swap, as phases between events of its timeline. Pure.

Timelines come from the store, so an entry that is none is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .._fleet.events import InstanceEvent

Phase = Literal["booting", "checking", "serving", "draining", "stopping", "stopped", "unhealthy"]

_GONE: Final = ""
_PHASES: Mapping[InstanceEvent, Phase | Literal[""]] = {
    "launched": "booting",
    "reimaged": "booting",
    "started again": "booting",
    "sealed": "checking",
    "volumes attached": "checking",
    "staged": "checking",
    "registered": "checking",
    "takes over": "checking",
    "in service": "serving",
    "draining": "draining",
    "deregistered": "stopping",
    "told to stop": "stopping",
    "removed": "stopping",
    "powered off": "stopped",
    "stopped": "stopped",
    "gone": _GONE,
}
_ASIDE: Final[tuple[InstanceEvent, ...]] = ("previous root removed",)  # changes no phase
_UNHEALTHY, _DIED = "unhealthy", "died at launch"  # the beginnings of events with a reason
_OF_NEW = {
    "launched",
    "reimaged",
    "sealed",
    "volumes attached",
    "staged",
    "registered",
    "takes over",
    "in service",
    _DIED,
}
MAX_SECONDS = 1e9  # no swap takes 30 years
MAX_SLOTS = 10_000  # of which those without events are drawn
WAVE_GAP = 1.0  # seconds between two launches of the same wave, at most


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a timeline. ``seconds`` since the swap began."""

    seconds: float
    event: str
    slot: int | None
    instance: str
    serving: int | None  # instances

    @property
    def name(self) -> str:
        """The event without its reason."""
        return self.event.partition(":")[0]

    @property
    def notable(self) -> bool:
        """Whether it says more than that an instance goes its usual way."""
        return not self.instance or self.name in (_UNHEALTHY, _DIED) or self.name not in (*_PHASES, *_ASIDE)


@dataclass(frozen=True, slots=True)
class Segment:
    begin: float
    end: float
    phase: Phase


@dataclass(slots=True)
class Track:
    """One instance. ``fresh``: the swap launched it."""

    slot: int
    instance: str
    fresh: bool
    segments: list[Segment] = field(default_factory=list)
    died: float | None = None

    @property
    def begin(self) -> float:
        return self.segments[0].begin if self.segments else self.died or 0.0

    @property
    def end(self) -> float:
        return self.segments[-1].end if self.segments else self.died or 0.0


def entries_of(timeline: Any) -> list[Entry]:
    """Return the entries of a timeline in order. ``timeline``: as a record has it."""
    found = [_entry(each) for each in timeline if isinstance(each, Mapping)] if isinstance(timeline, list) else []
    return [entry for entry in found if entry is not None]


def _entry(data: Mapping[str, Any]) -> Entry | None:
    seconds, event, slot = data.get("seconds"), data.get("event"), data.get("slot")
    if not _is_number(seconds) or not isinstance(event, str):
        return None
    serving = data.get("serving")
    return Entry(
        seconds=max(0.0, float(seconds)),  # type: ignore[arg-type]  # a number
        event=event,
        slot=slot if isinstance(slot, int) and not isinstance(slot, bool) and slot >= 0 else None,
        instance=str(data.get("instance") or ""),
        serving=serving if isinstance(serving, int) and not isinstance(serving, bool) else None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_SECONDS


def tracks_of(entries: Iterable[Entry], until: float) -> list[Track]:
    """Return the instances of a timeline by slot, the oldest first. ``until``: when the timeline ends."""
    events: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.instance and entry.slot is not None:
            events.setdefault(entry.instance, []).append(entry)
    tracks = [
        _track(instance, part, part_until)
        for instance, of_instance in events.items()
        for part, part_until in _lives(of_instance, until)
    ]
    return sorted(tracks, key=lambda track: (track.slot, track.fresh, track.begin, track.instance))


def _lives(entries: Sequence[Entry], until: float) -> Iterator[tuple[list[Entry], float]]:
    """The events of an instance before and after each change of its image in place, each part with its end."""
    part: list[Entry] = []
    for entry in entries:
        if entry.name == "reimaged" and part:
            yield part, entry.seconds
            part = []
        part.append(entry)
    yield part, until


def _track(instance: str, entries: Sequence[Entry], until: float) -> Track:
    first = entries[0]
    fresh = first.name in _OF_NEW
    track = Track(first.slot or 0, instance, fresh)
    phase, since = _before(first, fresh), 0.0
    for entry in entries:
        after = _after(entry, phase)
        if after == phase:
            continue
        if phase and entry.seconds > since:
            track.segments.append(Segment(since, entry.seconds, phase))
        phase, since = after, entry.seconds
        if entry.name == _DIED:
            track.died = entry.seconds
    if phase and until > since:
        track.segments.append(Segment(since, until, phase))
    return track


def _before(first: Entry, fresh: bool) -> Phase | Literal[""]:
    """The phase of an instance before its first event."""
    if not fresh:
        return "serving" if first.name in ("draining", _UNHEALTHY) else "stopped"
    return _GONE if first.name in ("launched", "reimaged") else "booting"


def _after(entry: Entry, phase: Phase | Literal[""]) -> Phase | Literal[""]:
    if entry.name == _UNHEALTHY:
        return "unhealthy"
    if entry.name == _DIED:
        return _GONE
    for event, after in _PHASES.items():
        if event == entry.name:
            late = after == "checking" and phase == "serving"  # an observation that came after the fact
            return phase if late else after
    return phase


def with_unchanged(tracks: Sequence[Track], entries: Sequence[Entry], size: int, until: float) -> list[Track]:
    """Add the instances without events: if the swap began with one in service in each slot, they served throughout."""
    first = next((entry.serving for entry in entries if entry.serving is not None), None)
    if first != size or size > MAX_SLOTS:
        return list(tracks)
    known = {track.slot for track in tracks if not track.fresh}
    unchanged = [
        Track(slot, "an instance that stays", fresh=False, segments=[Segment(0.0, until, "serving")])
        for slot in range(size)
        if slot not in known
    ]
    return sorted([*tracks, *unchanged], key=lambda track: (track.slot, track.fresh, track.begin, track.instance))


def waves_of(entries: Iterable[Entry]) -> list[float]:
    """Return when each wave began: instances that are launched together."""
    waves: list[float] = []
    last = -math.inf
    for entry in entries:
        if entry.name in ("launched", "reimaged"):
            if entry.seconds - last > WAVE_GAP:
                waves.append(entry.seconds)
            last = entry.seconds
    return waves


def merged(tracks: Sequence[Track]) -> list[tuple[Segment, bool]]:
    """Return what one slot did: at each moment the phase of its foremost instance, and whether the swap launched it."""
    changes: dict[float, list[tuple[tuple[int, bool], int]]] = {}
    for track in tracks:
        for each in track.segments:
            key = (_RANKS[each.phase], not track.fresh)
            changes.setdefault(each.begin, []).append((key, 1))
            changes.setdefault(each.end, []).append((key, -1))
    moments = sorted(changes)
    present = dict.fromkeys(((rank, old) for rank in _RANKS.values() for old in (False, True)), 0)
    found: list[tuple[Segment, bool]] = []
    for begin, end in zip(moments, moments[1:], strict=False):
        for key, change in changes[begin]:
            present[key] += change
        foremost = next((key for key, count in present.items() if count), None)
        if foremost is None:
            continue
        phase, fresh = _PHASE_OF_RANK[foremost[0]], not foremost[1]
        if found and found[-1][0].end == begin and (found[-1][0].phase, found[-1][1]) == (phase, fresh):
            begin = found.pop()[0].begin
        found.append((Segment(begin, end, phase), fresh))
    return found


# What is in motion comes first: a slot whose new instance boots while the old one serves is in motion.
_RANKS: Mapping[Phase, int] = {
    "unhealthy": 0,
    "checking": 1,
    "booting": 2,
    "draining": 3,
    "serving": 4,
    "stopping": 5,
    "stopped": 6,
}
_PHASE_OF_RANK: Mapping[int, Phase] = {rank: phase for phase, rank in _RANKS.items()}
