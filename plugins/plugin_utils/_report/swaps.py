# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One swap as the page shows it: in words, as a drawing, as events, and as numbers to scrub through. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._fleet.model import ABSENT, DONE, FAILED, OPEN, ROLLBACK, Intent
from .._summary.text import duration
from .frames import capacity_of, frames_of
from .lanes import MAX_SECONDS, Entry, entries_of, tracks_of, waves_of, with_unchanged
from .svg import MAX_WAVES, Swap, drawing

MAX_EVENTS = 300  # rows of a swap
TAIL = 0.03  # of the duration, drawn after the last event so that one sees what it led to
EDGE = 60  # events at each end that are shown of more, besides the notable ones
_STATUS = {DONE: "finished", FAILED: "stopped", OPEN: "unfinished"}


def swap_view(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a swap for the page.

    Args:
        facts: ``kind`` (swap, prediction, rehearsal), ``fleet``, ``intent`` (of the store, or None), ``timeline``, and
            what is known of ``left_out`` (events), ``lowest``, ``peak``, ``downtime``, ``duration``, ``ended``,
            ``stops``, ``pauses`` and
            ``last_failure`` (of a prediction: how the last swap to the same image failed).
    """
    intent = Intent.from_dict(facts["intent"]) if facts.get("intent") else None
    entries = entries_of(facts.get("timeline"))
    until = max([_seconds(facts.get("duration")), *(entry.seconds for entry in entries)], default=0.0)
    end = until * (1 + TAIL)
    capacity, waves = capacity_of(entries), waves_of(entries)
    new_fleet = bool(capacity) and capacity[0][1] == 0  # a floor is for what was in service
    floor = intent.floor if intent and intent.strategy != "autoscaling" and not new_fleet else None
    size = intent.size if intent else 0
    tracks = with_unchanged(tracks_of(entries, end), entries, size, end)
    marks = [(at, "wave") for at in (waves if len(waves) <= MAX_WAVES else [])]
    marks += [(entry.seconds, _kind(entry)) for entry in entries if _kind(entry) in ("gate", "rollback")]
    chart = (
        drawing(Swap(tracks, capacity, end, size=size, floor=floor, marks=marks[:200])) if tracks or capacity else None
    )
    return {
        "kind": facts["kind"],
        "title": _title(facts, intent),
        **_status(facts, intent),
        "strategy": intent.strategy if intent else "",
        "size": size,
        "summary": _summary(facts, waves=len(waves), floor=floor, until=until),
        "ended": facts.get("ended") or "",
        "last_words": list(intent.last_words) if intent else [],
        "culprit": intent.culprit if intent else "",
        "last_failure": facts.get("last_failure"),
        "steps": [] if entries else [str(step) for step in facts.get("steps") or []],
        "chart": chart,
        "frames": frames_of(entries, tracks, end) if chart else [],
        **_events(entries, int(facts.get("left_out") or 0)),
    }


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= MAX_SECONDS else 0.0


def _title(facts: Mapping[str, Any], intent: Intent | None) -> str:
    if intent is None:
        return str(facts.get("fleet", ""))
    if intent.goal == ABSENT:
        return f"Removal of {intent.fleet}"
    origin = f" from {intent.origin.image_name}" if intent.origin and intent.origin.image_name else ""
    return f"{intent.fleet} to {intent.image_name or intent.image}{origin}"


def _status(facts: Mapping[str, Any], intent: Intent | None) -> dict[str, str]:
    """In a word, and why."""
    if facts["kind"] != "swap":
        if facts.get("stops"):
            return {"status": "would stop", "tone": "bad", "reason": str(facts["stops"])}
        if facts.get("pauses"):
            return {"status": "would pause", "tone": "wait", "reason": str(facts["pauses"])}
        # Green would be wrong of a swap whose last try failed for a cause that the prediction does not know.
        return {"status": "would finish", "tone": "wait" if facts.get("last_failure") else "good", "reason": ""}
    if intent is None:
        return {"status": "", "tone": "", "reason": ""}
    if intent.stage == ROLLBACK and intent.goal != ABSENT:
        done = "rolled back" if intent.status != OPEN else "rolling back"
        return {"status": done, "tone": "bad", "reason": intent.reason}
    if intent.status == OPEN and intent.asks:
        return {"status": "waits for approval", "tone": "wait", "reason": intent.asks}
    tone = {DONE: "good", FAILED: "bad"}.get(intent.status, "wait")
    return {"status": _STATUS.get(intent.status, intent.status), "tone": tone, "reason": intent.reason}


def _summary(facts: Mapping[str, Any], *, waves: int, floor: int | None, until: float) -> list[dict[str, str]]:
    """The numbers of a swap by name. What is not known is left out."""
    known: dict[str, Any] = {
        "duration": duration(until) if until else None,
        "waves": waves or None,
        "lowest in service": facts.get("lowest"),
        "floor": floor,
        "most running": facts.get("peak"),
        "without service": duration(_seconds(facts.get("downtime"))) if facts.get("downtime") is not None else None,
    }
    return [{"name": name, "value": str(value)} for name, value in known.items() if value is not None]


def _kind(entry: Entry) -> str:
    """What a row is about: "rollback", "gate", "problem", "wave", or "" for the usual course of an instance."""
    if entry.event.startswith("rolling back"):
        return "rollback"
    if entry.name in ("gate", "passed", "approved", "asks for approval", "paused"):
        return "gate"
    if entry.notable and entry.instance:
        return "problem"
    return "wave" if entry.name == "launched" else ""


def _events(entries: Sequence[Entry], left_out: int) -> dict[str, Any]:
    """The rows of a swap. Of a long one, its notable events, and those at its ends."""
    shown = list(entries)
    if len(entries) > MAX_EVENTS:
        notable = [entry for entry in entries[EDGE:-EDGE] if entry.notable][: MAX_EVENTS - 2 * EDGE]
        shown = [*entries[:EDGE], *notable, *entries[-EDGE:]]
    rows = [
        {
            "seconds": round(entry.seconds, 1),
            "slot": "" if entry.slot is None else str(entry.slot),
            "instance": entry.instance,
            "event": entry.event,
            "kind": _kind(entry),
            "serving": "" if entry.serving is None else str(entry.serving),
        }
        for entry in shown
    ]
    return {"events": rows, "events_left_out": len(entries) - len(shown) + left_out}
