# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``recreate``: the old instance stops before the new one takes over, so the two never serve together.

``hot``: the new one boots and proves itself first, and only then the old one stops. Slots that own data go one after the other,
the others all at once. Old instances are kept, stopped, until the new ones serve: the way back is to start them again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._providers.contract import DOWN
from ..actions import Outcome
from ..model import InstanceView, Intent, Observed
from .batch import ActionBatch
from .ending import begin, conclude
from .holds import holds
from .rolling import by_priority
from .slots import Slot, arrange, failure, launched_by_swap, untouched


def plan_recreate(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = arrange(observed, intent, now)
    batch = begin(observed, intent, now, surplus)
    held = holds(slots, intent, now)
    lost: list[str] = []
    due = [
        slot
        for slot in by_priority(slots)
        if slot.number not in held and not slot.finished and not _as_it_was(slot, intent, now)
    ]
    due.sort(key=_untouched)
    for slot in due:
        for view in slot.old[1:]:  # beside one that may serve: they only take places
            batch.take_down(view, given_up=bool(failure(view, slot, intent, now)))
    for group in [[slot] for slot in due] if intent.aim.volumes else [due]:
        moved = _Together(group, batch, intent, now)
        moved.plan()
        lost += moved.lost
        if not moved.lost:
            break
    return batch.outcome() or conclude(held, lost, intent)


def _as_it_was(slot: Slot, intent: Intent, now: float) -> bool:
    current = slot.current
    if current and current.standby and current.proven and not launched_by_swap(current, intent):
        return True  # people keep it out of traffic
    return bool(current and not slot.old and untouched(current, intent) and failure(current, slot, intent, now))


def _untouched(slot: Slot) -> bool:
    """What was begun is finished first."""
    return slot.current is None and all(view.live for view in slot.old)


class _Together:
    """Slots that are recreated at the same time."""

    def __init__(self, slots: Sequence[Slot], batch: ActionBatch, intent: Intent, now: float) -> None:
        self._slots = slots
        self._batch = batch
        self._intent = intent
        self._now = now
        self.lost: list[str] = []

    def plan(self) -> None:
        missing = [
            slot
            for slot in self._slots
            if slot.missing and (not self._intent.back or (slot.current is None and self._can_relaunch()))
        ]
        for slot in missing:
            self._batch.create_volumes(slot.number, slot.missing)
        if missing or (
            self._intent.hot and not self._intent.back and False in [self._proved(slot) for slot in self._slots]
        ):
            return  # all of them are asked, so that all boot at the same time
        cleared = [self._cleared(slot) for slot in self._slots]  # all of them are asked
        if all(cleared):
            for slot in self._slots:
                self._bring_up(slot)

    def _proved(self, slot: Slot) -> bool:
        """Only where hot: the new instance is there and well, as far as it can be without the slot's volumes."""
        current = slot.current
        if current is None:
            free = [volume.id for volume in slot.volumes if volume.attached_to is None and volume not in slot.unfit]
            if not self._batch.launch(slot.number, free, slot.attempt):
                self._batch.wait(f"slot {slot.number}: no more than {self._intent.ceiling} instances at a time")
                # Those that found a place prove the image for the rest; and where it serves nobody, going on without proof harms nobody.
                return any(each.current for each in self._slots) or not any(view.serving for view in slot.old)
            return False
        if not current.proven:
            self._batch.wait(
                f"slot {slot.number}: {current.id} boots and seals itself", current.started + self._intent.boot_deadline
            )
            return False
        if not slot.volumes and not current.healthy:
            self._wait_for_health(slot, current)
            return False
        return True

    def _cleared(self, slot: Slot) -> bool:
        """Its old instances are down. Where the new one serves already they go for good."""
        current = slot.current
        if current and current.serving:
            for view in slot.old:
                self._batch.take_away(view, self._given_up(view, slot))
            return True
        down = [self._batch.take_down(view, self._given_up(view, slot)) for view in slot.old]
        return all(down)

    def _bring_up(self, slot: Slot) -> None:
        current, intent = slot.current, self._intent
        if current and current.serving:
            return
        if current is None and intent.back and not self._can_relaunch():
            self.lost.append(f"slot {slot.number}: {intent.origin_problem or 'nothing is known of what ran before'}")
            self._drop_failed(slot)
        elif (
            current
            and intent.back
            and current.swap == intent.serial
            and (reason := failure(current, slot, intent, self._now))
        ):
            self.lost.append(f"slot {slot.number}: {current.id} was launched to go back and failed: {reason}")
            self._drop_failed(slot)
        elif self._volumes_are_here(slot):
            self._run(slot)

    def _can_relaunch(self) -> bool:
        return self._intent.origin is not None and not self._intent.origin_problem

    def _volumes_are_here(self, slot: Slot) -> bool:
        """One step of the volumes' way to the current instance, or to be free for its launch."""
        held = [
            volume.id
            for volume in slot.volumes
            if volume.attached_to and (slot.current is None or volume.attached_to != slot.current.id)
        ]
        free = [volume for volume in slot.volumes if volume.attached_to is None]
        unfit = [volume for volume in free if volume in slot.unfit]
        if held:
            self._batch.detach(held)
        elif unfit:
            self._batch.modify(unfit, self._intent.aim.volumes)
        elif free and slot.current:
            self._batch.attach([volume.id for volume in free], slot.current)
        else:
            return True
        return False

    def _run(self, slot: Slot) -> None:
        batch, current, limit = self._batch, slot.current, self._intent.health_deadline
        if current is None or not current.live:
            begun = (
                batch.start(current)
                if current
                else batch.launch(slot.number, [volume.id for volume in slot.volumes], slot.attempt)
            )
            if not begun:
                batch.wait(f"slot {slot.number}: no more than {self._intent.ceiling} instances at a time")
        elif not current.proven:
            batch.wait(
                f"slot {slot.number}: {current.id} boots and seals itself", current.started + self._intent.boot_deadline
            )
        elif not current.healthy:
            self._wait_for_health(slot, current)
        elif current.member == DOWN:
            batch.wait(f"slot {slot.number}: the load balancer checks {current.id}", current.member_since + limit)
        else:
            batch.register(current)

    def _wait_for_health(self, slot: Slot, current: InstanceView) -> None:
        until = current.waiting_since + self._intent.health_deadline
        self._batch.wait(f"slot {slot.number}: {current.id} becomes healthy ({current.problem})", until)

    def _drop_failed(self, slot: Slot) -> None:
        for view in slot.old:
            if launched_by_swap(view, self._intent):
                self._batch.take_away(view, given_up=True)

    def _given_up(self, view: InstanceView, slot: Slot) -> bool:
        failed = bool(failure(view, slot, self._intent, self._now))
        return failed or (self._intent.back and launched_by_swap(view, self._intent) and not view.healthy)
