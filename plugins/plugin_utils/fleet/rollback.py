# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Undo what a failed swap left unfinished: each slot goes back to its old instance, where it has one.

Slots that already serve with the new image stay. The swap then ends as stopped, with the reason that began the rollback.
"""
from __future__ import annotations

from .batch import Batch
from .model import DOWN, UP, InstanceView, Intent, Observed
from .outcome import Done, Outcome, Stopped
from .slots import Slot, arrange, failure


def plan_rollback(observed: Observed, intent: Intent, now: float) -> Outcome:
    batch = Batch(observed, intent, now)
    lost = [reason for slot in arrange(observed, intent, now)[0] if (reason := _undo(slot, batch, intent, now))]
    outcome = batch.outcome()
    if not isinstance(outcome, Done):
        return outcome
    return Stopped("; ".join([intent.reason, *lost]))


def _undo(slot: Slot, batch: Batch, intent: Intent, now: float) -> str:
    """Plan the slot's next step back. Returns why its old instance could not be brought back, or an empty string."""
    current, keeper = slot.current, slot.keeper
    if current and current.serving:
        for view in slot.old:
            if batch.take_out(view, given_up=bool(failure(view, slot, intent, now))):
                batch.remove(view)
        return ""
    if current and _may_go_on(slot, current):
        if current.member == DOWN and not failure(current, slot, intent, now):
            batch.wait(f"slot {slot.number}: the load balancer checks {current.id}", current.member_since + intent.health_deadline)
            return ""
        if current.member != DOWN:
            batch.register(current)
            return ""
    if keeper is None:
        if current and batch.take_out(current, given_up=True):
            batch.remove(current)
        return ""
    if keeper.serving:
        if current and batch.take_out(current, given_up=True):
            batch.remove(current)
        return ""
    return _restore(slot, keeper, batch, intent, now)


def _may_go_on(slot: Slot, current: InstanceView) -> bool:
    """It is as good as in service, and nobody else serves its slot."""
    return current.healthy and current.proven and slot.complete(current) and not any(view.serving for view in slot.old)


def _restore(slot: Slot, keeper: InstanceView, batch: Batch, intent: Intent, now: float) -> str:
    """Volumes back, then start, then into service."""
    away = slot.away(keeper)
    if away:
        holders = [view for view in (*slot.old, *filter(None, [slot.current])) if any(volume.attached_to == view.id for volume in away)]
        for view in holders:
            if batch.take_out(view, given_up=True):
                batch.detach(volume.id for volume in away if volume.attached_to == view.id)
        free = [volume.id for volume in away if volume.attached_to is None]
        if not holders and free:
            batch.attach(free, keeper)
        elif not holders:
            batch.wait(f"slot {slot.number}: {away[0].id} is attached to {away[0].attached_to}, which is not in this slot")
        return ""
    if not keeper.running and keeper.member is not None:
        batch.deregister(keeper.id)
        return ""
    if not keeper.running and keeper.started < intent.turned:
        batch.start(keeper)
        return ""
    reason = failure(keeper, slot, intent, now)
    if reason:
        if slot.current and batch.take_out(slot.current, given_up=True):
            batch.remove(slot.current)
        return f"slot {slot.number}: its old instance {keeper.id} could not be brought back: {reason}"
    if not keeper.proven:
        batch.wait(f"slot {slot.number}: {keeper.id} boots again", keeper.started + intent.boot_deadline)
    elif not keeper.healthy:
        batch.wait(f"slot {slot.number}: {keeper.id} becomes healthy again ({keeper.problem})", keeper.waiting_since + intent.health_deadline)
    elif keeper.member in (UP, DOWN):
        batch.wait(f"slot {slot.number}: the load balancer checks {keeper.id}", keeper.member_since + intent.health_deadline)
    else:
        batch.register(keeper)
    return ""
