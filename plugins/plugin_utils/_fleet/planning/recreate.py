# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``recreate``: the old instance stops before the new one takes over, so the two never serve together.

With ``hot`` the new instance boots and proves itself before the old one stops. Slots with data are recreated one after
the other, all other slots at once. Old instances stay, stopped, until the new ones serve: a rollback starts them again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._providers.contract import DOWN
from ..actions import Outcome
from ..model import Intent
from ..observed import InstanceView, Observed
from .batch import ActionBatch
from .ending import begin, conclude
from .holds import holds
from .rolling import by_priority
from .slots import (
    Slot,
    assign_to_slots,
    can_relaunch,
    failed_in_rollback,
    failure_reason,
    is_given_up,
    launched_by_swap,
    relaunch_problem,
    untouched,
)


def plan_recreate(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = assign_to_slots(observed, intent, now)
    batch = begin(observed, intent, now, surplus)
    held = holds(slots, intent, now)
    due = [
        slot
        for slot in by_priority(slots)
        if slot.number not in held and not slot.finished and not stays_as_is(slot, intent, now)
    ]
    due.sort(key=_has_not_begun)
    for slot in [*due, *(slot for slot in slots if slot.number in held)]:
        for view in slot.old[1:]:  # only the first may serve; the others take places under the ceiling
            batch.stop(view, given_up=bool(failure_reason(view, slot, intent, now)))
    blocked: list[str] = []
    for group in [[slot] for slot in due] if intent.desired.volumes else [due]:
        recreation = Recreation(group, batch, intent, now)
        recreation.plan()
        blocked += recreation.blocked
        if not recreation.blocked:
            break
    return batch.outcome() or conclude(held, blocked, intent)


def stays_as_is(slot: Slot, intent: Intent, now: float) -> bool:
    """Whether a slot with a current instance is left alone although that does not serve."""
    current = slot.current
    if current and current.standby and current.proven and not launched_by_swap(current, intent):
        return True  # a user keeps it out of traffic
    return bool(current and not slot.old and untouched(current, intent) and failure_reason(current, slot, intent, now))


def _has_not_begun(slot: Slot) -> bool:
    """Sort key: slots whose replacement has begun come first."""
    return slot.current is None and all(view.live for view in slot.old)


class Recreation:
    """Recreates a group of slots at the same time.

    Attributes:
        blocked: why slots cannot reach the desired version.
    """

    def __init__(self, slots: Sequence[Slot], batch: ActionBatch, intent: Intent, now: float) -> None:
        self._slots = slots
        self._batch = batch
        self._intent = intent
        self._now = now
        self.blocked: list[str] = []

    def plan(self) -> None:
        intent = self._intent
        missing = [
            slot
            for slot in self._slots
            if slot.missing and (not intent.rolling_back or (slot.current is None and can_relaunch(intent)))
        ]
        for slot in missing:
            self._batch.create_volumes(slot.number, slot.missing)
        if missing:
            return
        if intent.hot and not intent.rolling_back:
            proofs = [self._prove(slot) for slot in self._slots]  # of every slot, so that all boot at the same time
            if not all(proofs):
                return
        cleared = [self._clear_old(slot) for slot in self._slots]  # and all stop at the same time
        if all(cleared):
            for slot in self._slots:
                self._bring_up(slot)

    def _prove(self, slot: Slot) -> bool:
        """Whether the new instance of a hot recreation is healthy, as far as it can be without the slot's volumes."""
        current = slot.current
        if current is None:
            free = [v.id for v in slot.volumes if v.attached_to is None and v not in slot.to_modify]
            if self._batch.launch(slot.number, free, slot.attempt):
                return False
            self._batch.wait_for_room(slot.number)
            # Without a place under the ceiling, instances of other slots prove the image. A slot that does not serve
            # needs no proof.
            return any(each.current for each in self._slots) or not any(view.serving for view in slot.old)
        if not current.proven:
            self._batch.wait_for_boot(current)
            return False
        if not slot.volumes and not current.healthy:
            self._batch.wait_for_health(current)
            return False
        return True

    def _clear_old(self, slot: Slot) -> bool:
        """Whether the old instances are stopped. They are removed once the new one serves."""
        current = slot.current
        if current and current.serving:
            for view in slot.old:
                self._batch.remove(view, self._is_given_up(view, slot))
            return True
        stopped = [self._batch.stop(view, self._is_given_up(view, slot)) for view in slot.old]
        return all(stopped)

    def _bring_up(self, slot: Slot) -> None:
        current, intent = slot.current, self._intent
        if current and current.serving:
            return
        if current is None and intent.rolling_back and (problem := relaunch_problem(slot, intent)):
            self._block(slot, problem)
        elif reason := failed_in_rollback(slot, intent, self._now):
            self._block(slot, reason)
        elif self._volumes_arrived(slot):
            self._run(slot)

    def _block(self, slot: Slot, reason: str) -> None:
        """Report the slot as blocked, and remove what the swap launched there."""
        self.blocked.append(reason)
        for view in slot.old:
            if launched_by_swap(view, self._intent):
                self._batch.remove(view, given_up=True)

    def _volumes_arrived(self, slot: Slot) -> bool:
        """Plan the next step that moves the volumes to the current instance, or frees them for its launch."""
        current = slot.current
        held = [v.id for v in slot.volumes if v.attached_to and (current is None or v.attached_to != current.id)]
        free = [volume for volume in slot.volumes if volume.attached_to is None]
        to_modify = [volume for volume in free if volume in slot.to_modify]
        if held:
            self._batch.detach(held)
        elif to_modify:
            self._batch.modify(to_modify, self._intent.desired.volumes)
        elif free and current and current.live and not current.proven:
            self._batch.wait_for_boot(current)  # clouds attach no volume to an instance that does not run yet
        elif free and current:
            self._batch.attach([volume.id for volume in free], current)
        else:
            return True
        return False

    def _run(self, slot: Slot) -> None:
        batch, current = self._batch, slot.current
        if current is None:
            if not batch.launch(slot.number, [volume.id for volume in slot.volumes], slot.attempt):
                batch.wait_for_room(slot.number)
        elif not current.live:
            if not batch.start(current):
                batch.wait_for_room(slot.number)
        elif not current.proven:
            batch.wait_for_boot(current)
        elif not current.healthy:
            batch.wait_for_health(current)
        elif current.member == DOWN:
            batch.wait_for_checks(current)
        else:
            batch.register(current)

    def _is_given_up(self, view: InstanceView, slot: Slot) -> bool:
        return is_given_up(view, slot, self._intent, self._now)
