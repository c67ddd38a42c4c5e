# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which slots may not be begun yet, and why: people's marks, hours of the day, zones, canary stages. What was begun is finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..model import InstanceView, Intent
from .canary import limit
from .slots import Slot
from .step import replacement_priority
from .windows import is_open, opens_at
from .windows import shown as shown_time

WAIT, IGNORE = "wait", "ignore"  # policies; the third is "replace"


@dataclass(frozen=True)
class Hold:
    reason: str
    skip: bool = False  # the slot may stay as it is for good
    later: bool = False  # others come first


def holds(slots: Sequence[Slot], intent: Intent, now: float) -> dict[int, Hold]:
    """By slot number. A slot whose instance does not serve is replaced at any hour; nothing is held on the way back."""
    if intent.back:
        return {}
    held: dict[int, Hold] = {}
    waiting = [slot for slot in slots if slot.current is None]
    for slot in waiting:
        mark = _marked(slot.old, intent)
        if mark:
            held[slot.number] = mark
    if not is_open(intent.windows, now):
        reason = f"no window is open; the next one opens at {shown_time(opens_at(intent.windows, now))}"
        held.update({slot.number: Hold(reason) for slot in waiting if slot.number not in held and _serves(slot)})
    _hold_zones(slots, intent, held)
    _hold_stages(slots, intent, held)
    return held


def _serves(slot: Slot) -> bool:
    return any(view.serving for view in slot.old)


def _marked(views: Iterable[InstanceView], intent: Intent) -> Hold | None:
    for view in views:
        for mark, reason, policy in (
            ("protected", view.protected, intent.protected),
            ("in standby", view.standby, intent.standby),
        ):
            if reason and view.live and policy in (WAIT, IGNORE):
                return Hold(f"{view.id} is {mark} ({reason})", skip=policy == IGNORE)
    return None


def _hold_zones(slots: Sequence[Slot], intent: Intent, held: dict[int, Hold]) -> None:
    """One zone after the other: a bad image or a zone's own trouble must not meet two at a time."""
    if len(intent.zones) < 2 or intent.strategy == "blue_green":  # that one flips as a whole
        return
    active = next(
        (
            zone_of(slot.number, intent)
            for slot in _by_zone(slots, intent)
            if not (slot.finished or slot.resting) and slot.number not in held
        ),
        None,
    )
    for slot in slots:
        if (
            slot.current is None
            and slot.number not in held
            and _serves(slot)
            and zone_of(slot.number, intent) != active
        ):
            held[slot.number] = Hold(f"zone {active} comes first", later=True)


def _by_zone(slots: Sequence[Slot], intent: Intent) -> list[Slot]:
    return sorted(slots, key=lambda slot: (intent.zones.index(zone_of(slot.number, intent)), slot.number))


def zone_of(number: int, intent: Intent) -> str:
    return intent.zones[number % len(intent.zones)] if intent.zones else ""


def _hold_stages(slots: Sequence[Slot], intent: Intent, held: dict[int, Hold]) -> None:
    most = limit(intent)
    if most is None:
        return
    begun = sum(slot.current is not None for slot in slots)
    free = [
        slot
        for slot in sorted(slots, key=lambda slot: (*replacement_priority(slot), slot.number))
        if slot.current is None and slot.number not in held
    ]
    for slot in free[max(0, most - begun) :]:
        if any(view.live for view in slot.old):  # where nobody is there is nothing to spare
            held[slot.number] = Hold("its canary stage comes later", later=True)
