# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Latencies of earlier swaps, for predictions: medians over the timelines in the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ..events import InstanceEvent

RECORDS = 5  # how many of the newest swaps are measured
# By name of the latency: the events of one instance that begin it, and those that end it.
_EVENTS: Mapping[str, tuple[tuple[InstanceEvent, ...], tuple[InstanceEvent, ...]]] = {
    "boot": (("launched", "reimaged", "started again"), ("sealed",)),
    "health": (("sealed", "volumes attached"), ("registered", "staged")),
    "check": (("registered", "takes over"), ("in service",)),
    "drain": (("draining",), ("deregistered", "removed", "told to stop")),
    "stop": (("told to stop", "removed"), ("stopped", "gone")),
}


def measured(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return latencies in seconds by name, as in ``Latencies``. A latency that no swap shows is left out.

    Args:
        records: as ``Ledger.records`` returns them, each with a ``timeline``.
    """
    found: dict[str, list[float]] = {name: [] for name in _EVENTS}
    for record in records:
        for events in _by_instance(record.get("timeline") or []):
            for name, (begins, ends) in _EVENTS.items():
                found[name] += _spans(events, begins, ends)
    return {name: round(median(spans), 1) for name, spans in found.items() if spans}


def _by_instance(timeline: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, float]]]:
    """Return the events of each instance, each with its time in seconds."""
    events: dict[str, list[tuple[str, float]]] = {}
    for entry in timeline:
        if entry.get("instance"):
            events.setdefault(entry["instance"], []).append((entry["event"], entry["seconds"]))
    return list(events.values())


def _spans(events: Sequence[tuple[str, float]], begins: Sequence[str], ends: Sequence[str]) -> list[float]:
    """Return the time from the last beginning before the first end, or nothing.

    Later spans do not count: an instance that is removed after it stopped is gone at once.
    """
    began = None
    for event, at in events:
        if event in ends and began is not None:
            return [at - began]
        if event in begins:
            began = at
    return []
