# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategies ``rolling`` and ``canary``: slot by slot, each old instance goes after its successor serves."""

from __future__ import annotations

from ..actions import Act, Outcome, Pause, Wait
from ..model import Intent
from ..observed import Observed
from .canary import stage_outcome
from .ending import begin, conclude
from .holds import holds
from .slots import Slot, assign_to_slots
from .step import SlotStep, replacement_priority


def plan_rolling(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = assign_to_slots(observed, intent, now)
    batch = begin(observed, intent, now, surplus)
    held = holds(slots, intent, now)
    blocked = []
    in_turn = by_priority(slots)
    if not intent.count_draining:  # slots that drain their old instances free places for those that launch
        in_turn.sort(key=lambda slot: not (slot.current and slot.current.serving))
    for slot in in_turn:
        step = SlotStep(slot, batch, intent, now)
        if slot.number in held:
            step.keep()
        else:
            step.plan()
        blocked.append(step.blocked)
    outcome = batch.outcome()
    if isinstance(outcome, Act):
        return outcome
    left, waiting = sum(hold.skip for hold in held.values()), sum(hold.later for hold in held.values())
    stage = stage_outcome(slots, intent, now, left=left, waiting=waiting)
    if isinstance(stage, (Pause, Wait)) and outcome and outcome.until is not None:
        return outcome  # finish what has begun before time passes
    # A reached stage proceeds whatever else waits, because that may be a slot of a later stage.
    return stage or outcome or conclude(held, blocked, intent)


def by_priority(slots: list[Slot]) -> list[Slot]:
    return sorted(slots, key=lambda slot: (*replacement_priority(slot), slot.number))
