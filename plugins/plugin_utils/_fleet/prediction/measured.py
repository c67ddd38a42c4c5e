# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long things took in earlier swaps, for predictions: medians over the timelines that the records keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

RECORDS = 5  # swaps that are looked at
_STEPS = {  # latency: (events it begins with, events it ends with), of one instance
    "boot": (("launched", "started again"), ("sealed",)),
    "health": (("sealed", "volumes attached"), ("registered", "staged")),
    "check": (("registered", "takes over"), ("in service",)),
    "drain": (("draining",), ("deregistered", "removed", "told to stop")),
    "stop": (("told to stop", "removed"), ("stopped", "gone")),
}


def measured(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by name of a latency (see ``providers.world.Latencies``); those that were never seen are left out.

    Args:
        records: as ``Ledger.records`` gives them, each with a ``timeline``.
    """
    found: dict[str, list[float]] = {name: [] for name in _STEPS}
    for record in records:
        for events in _by_instance(record.get("timeline") or []):
            for name, (begins, ends) in _STEPS.items():
                found[name] += _spans(events, begins, ends)
    return {name: round(median(spans), 1) for name, spans in found.items() if spans}


def _by_instance(timeline: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, float]]]:
    events: dict[str, list[tuple[str, float]]] = {}
    for each in timeline:
        if each.get("instance"):
            events.setdefault(each["instance"], []).append((each["event"], each["seconds"]))
    return list(events.values())


def _spans(events: Sequence[tuple[str, float]], begins: Sequence[str], ends: Sequence[str]) -> list[float]:
    """From the last begin before the first end. A second time is another thing: what is removed after it stopped is gone at once."""
    began = None
    for event, at in events:
        if event in ends and began is not None:
            return [at - began]
        if event in begins:
            began = at
    return []
