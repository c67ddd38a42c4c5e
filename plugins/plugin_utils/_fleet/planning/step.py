# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The next step of one slot on its way to the desired version.

A rollback takes the same steps towards what ran before. It starts old instances again that still exist, instead of
launching new ones.
"""

from __future__ import annotations

from ..._providers.contract import DOWN, UP
from ..model import Intent
from ..observed import InstanceView
from .batch import ActionBatch
from .slots import (
    Slot,
    can_relaunch,
    failed_in_rollback,
    failure_reason,
    is_given_up,
    launched_by_swap,
    relaunch_problem,
    untouched,
)


class SlotStep:
    """The next step of one slot."""

    def __init__(self, slot: Slot, batch: ActionBatch, intent: Intent, now: float) -> None:
        self._slot = slot
        self._batch = batch
        self._intent = intent
        self._now = now
        self.blocked = ""  # why the slot cannot reach the desired version

    def plan(self) -> None:
        slot, batch, intent, current = self._slot, self._batch, self._intent, self._slot.current
        if slot.missing and (not intent.rolling_back or (current is None and can_relaunch(intent))):
            batch.create_volumes(slot.number, slot.missing)
            if current is None:  # its launch follows in the next pass, and later slots must not take its place
                batch.reserve()
        elif current is None:
            self._fill()
        elif untouched(current, intent) and failure_reason(current, slot, intent, self._now):
            self.clear_old()  # it was unhealthy before the swap too, so it stays as it was
        elif reason := failed_in_rollback(slot, intent, self._now):
            self._give_up(reason)
        elif not current.live and slot.volumes_not_on(current):
            self._move_volumes(current)
        elif not current.live:
            self._start_again(current)
        elif not current.proven:
            self._keep_old()
            batch.wait_for_boot(current)
        elif slot.volumes_not_on(current):
            self._move_volumes(current)
        elif current.serving:
            self.clear_old()
        elif current.standby and not launched_by_swap(current, intent):
            self._keep_old()  # a user keeps it out of traffic, so the old instance continues to serve
        else:
            self._bring_into_service(current)

    def keep(self) -> None:
        """Keep the slot in service without replacing its instance."""
        self._keep_old()

    def clear_old(self) -> None:
        """Remove the old instances."""
        for view in self._slot.old:
            self._batch.remove(view, given_up=self._is_given_up(view))

    def _fill(self) -> None:
        slot, batch, intent = self._slot, self._batch, self._intent
        if intent.rolling_back and (problem := relaunch_problem(slot, intent)):
            self._settle_for_old(problem)
            return
        free = [volume for volume in slot.volumes if volume.attached_to is None]
        to_modify = [volume for volume in free if volume in slot.to_modify]
        if to_modify:
            batch.modify(to_modify, intent.desired.volumes)
            batch.reserve()
            self._keep_old()
            return
        full = not batch.launch(slot.number, [volume.id for volume in free], slot.attempt)
        if full:
            batch.wait_for_room(slot.number)
        fallback = slot.fallback
        if full and fallback and fallback.live and (slot.lacks_volumes(fallback) or self._is_given_up(fallback)):
            batch.stop(fallback, given_up=True)  # it serves no request, but takes the place of an instance that could
        else:
            self._keep_old()

    def _settle_for_old(self, problem: str) -> None:
        """Keep what serves: the origin is gone and cannot be launched. Instances that failed are removed."""
        if not any(view.serving for view in self._slot.old):
            self.clear_old()
        elif self._slot.old[1:]:
            self._keep_old()
        self.blocked = problem

    def _keep_old(self) -> None:
        """Let the old instance serve until the new one is ready, and stop further old instances."""
        fallback = self._slot.fallback
        if fallback and fallback.member not in (UP, DOWN) and self._may_return(fallback):
            self._batch.register(fallback)
        for view in self._slot.old:
            if view.stopping or (view is not fallback and (view.live or view.member is not None)):
                self._batch.stop(view, given_up=self._is_given_up(view))
            elif not view.live and view.member is not None:
                self._batch.deregister(view.id)

    def _may_return(self, view: InstanceView) -> bool:
        return view.ready and not view.standby and not self._is_undone(view)

    def _move_volumes(self, current: InstanceView) -> None:
        batch, slot = self._batch, self._slot
        elsewhere = slot.volumes_not_on(current)
        holders = [view for view in slot.old if any(volume.attached_to == view.id for volume in elsewhere)]
        if batch.yields_place(current, holders):
            return
        for view in holders:
            # After a restart of the load balancer, for example, a holder must serve again before it may leave.
            needed = view.live and view.healthy and batch.below_floor()
            needed = needed and not self._is_given_up(view) and not self._is_undone(view)
            if needed and view.member is None:
                batch.register(view)
            elif needed and view.member == DOWN:
                batch.wait_for_checks(view)
            elif batch.stop(view, given_up=self._is_given_up(view)):
                batch.detach(volume.id for volume in elsewhere if volume.attached_to == view.id)
        if holders:
            self._stop_spares(holders)
            return
        free = [volume for volume in elsewhere if volume.attached_to is None]
        to_modify = [volume for volume in free if volume in slot.to_modify]
        if to_modify:
            batch.modify(to_modify, self._intent.desired.volumes)
        elif free:
            batch.attach([volume.id for volume in free], current)
        else:
            volume = elsewhere[0]
            batch.wait(
                f"slot {slot.number}: {volume.id} is attached to {volume.attached_to}, which is not in this slot"
            )

    def _stop_spares(self, holders: list[InstanceView]) -> None:
        """Stop the old instances that neither serve nor hold a volume.

        A holder may have to serve until another slot does, and they could take the place of an instance there.
        """
        for view in self._slot.old:
            if view.live and not view.serving and view not in holders:
                self._batch.stop(view, given_up=self._is_given_up(view))

    def _start_again(self, current: InstanceView) -> None:
        """Start an old instance that the swap stopped. Only a rollback does so."""
        if current.member is not None:
            self._batch.deregister(current.id)
        elif not self._batch.start(current):
            for view in self._slot.old:  # the instance that failed in this slot takes its place
                if not view.serving:
                    self._batch.remove(view, given_up=True)
            self._batch.wait_for_room(self._slot.number)

    def _give_up(self, reason: str) -> None:
        """The instance that the rollback launched failed too: keep what serves, and report the slot as blocked."""
        self.blocked = reason
        for view in self._slot.old:
            if launched_by_swap(view, self._intent) and not view.serving:
                self._batch.remove(view, given_up=True)

    def _bring_into_service(self, current: InstanceView) -> None:
        if not current.healthy:
            self._batch.wait_for_health(current)
        elif current.member == DOWN:
            self._batch.wait_for_checks(current)
        else:
            self._batch.register(current)
        if not self._slot.volumes:
            self._keep_old()

    def _is_undone(self, view: InstanceView) -> bool:
        """Whether the rollback replaces it: it may serve until its successor does, but does not return to service."""
        intent = self._intent
        return intent.rolling_back and launched_by_swap(view, intent) and view.swap != intent.serial

    def _is_given_up(self, view: InstanceView) -> bool:
        return is_given_up(view, self._slot, self._intent, self._now)


def replacement_priority(slot: Slot) -> tuple[bool, int]:
    """Sort key by which slots are replaced: tainted hosts and slots that do not serve come first.

    Replacing what does not serve only raises the number of instances in service. It must come before other slots take
    the places under the ceiling, because those may wait for it.
    """
    fallback = slot.fallback
    rank = fallback.live + fallback.healthy + fallback.serving if fallback else 0
    return (not (fallback and fallback.tainted) and rank == 3, rank)
