# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which slots may not be replaced yet, and why: marks on hosts, windows, zones, canary stages.

A replacement that has begun is finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..model import Intent
from ..observed import InstanceView
from .canary import stage_limit
from .slots import Slot, launched_by_swap
from .step import replacement_priority
from .windows import format_utc, is_open, opens_at

WAIT: Final = "wait"  # policies; the third is "replace"
IGNORE: Final = "ignore"


@dataclass(frozen=True)
class Hold:
    reason: str
    skip: bool = False  # the slot stays as it is
    later: bool = False  # other slots come first


def holds(slots: Sequence[Slot], intent: Intent, now: float) -> dict[int, Hold]:
    """The holds by slot number. A slot that does not serve is replaced at any hour, and a rollback holds nothing."""
    if intent.rolling_back:
        return {}
    held: dict[int, Hold] = {}
    waiting = [slot for slot in slots if slot.current is None]
    for slot in waiting:
        hold = _marked(slot.old, intent)
        if hold:
            held[slot.number] = hold
    for slot in slots:
        if slot.current and not (slot.current.healthy or launched_by_swap(slot.current, intent)):
            hold = _marked([slot.current], intent)
            if hold and hold.skip:  # waiting for its health would make each run change something
                held[slot.number] = hold
    if not is_open(intent.windows, now):
        reason = f"no window is open; the next one opens at {format_utc(opens_at(intent.windows, now))}"
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
    """Replace one zone after the other, so that a bad image or an outage does not hit two zones at a time."""
    if len(intent.zones) < 2 or intent.strategy == "blue_green":  # it switches all zones at once
        return
    active = next(
        (
            zone_of(slot.number, intent)
            for slot in _by_zone(slots, intent)
            if not (_is_replaced(slot, intent) or slot.in_standby) and slot.number not in held
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
            held[slot.number] = Hold(f"zone {active} is replaced first", later=True)


def _is_replaced(slot: Slot, intent: Intent) -> bool:
    """Whether the slot delays no other zone. Old instances that drain do not if they take no place."""
    return slot.finished or bool(not intent.count_draining and slot.current and slot.current.serving)


def _by_zone(slots: Sequence[Slot], intent: Intent) -> list[Slot]:
    return sorted(slots, key=lambda slot: (intent.zones.index(zone_of(slot.number, intent)), slot.number))


def zone_of(number: int, intent: Intent) -> str:
    return intent.zones[number % len(intent.zones)] if intent.zones else ""


def _hold_stages(slots: Sequence[Slot], intent: Intent, held: dict[int, Hold]) -> None:
    most = stage_limit(intent)
    if most is None:
        return
    begun = sum(slot.current is not None and slot.number not in held for slot in slots)
    free = [
        slot
        for slot in sorted(slots, key=lambda slot: (*replacement_priority(slot), slot.number))
        if slot.current is None and slot.number not in held
    ]
    for slot in free[max(0, most - begun) :]:
        # An empty slot has no instance to keep, nor has one whose instances can never serve as they are.
        if any(view.live and not slot.lacks_volumes(view) for view in slot.old):
            held[slot.number] = Hold("its canary stage comes later", later=True)
