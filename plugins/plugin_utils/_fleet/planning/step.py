# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one slot needs next, on its way to the intent's aim: the new instance first, the old one after it, volumes last.

The way back is the same way, towards what ran before: instances that are still there are started again instead of launched.
"""

from __future__ import annotations

from ..._providers.contract import DOWN, UP
from ..model import InstanceView, Intent
from .batch import ActionBatch
from .slots import Slot, failure, launched_by_swap, untouched


class Step:
    def __init__(self, slot: Slot, batch: ActionBatch, intent: Intent, now: float) -> None:
        self._slot = slot
        self._batch = batch
        self._intent = intent
        self._now = now
        self.lost = ""  # why the slot cannot get to the aim

    def plan(self) -> None:
        slot, batch, current = self._slot, self._batch, self._slot.current
        if slot.missing and (not self._intent.back or (current is None and self._can_relaunch())):
            batch.create_volumes(slot.number, slot.missing)
            if current is None:  # it is launched at the next look, and slots that come after it must not take its place
                batch.reserve()
        elif current is None:
            self._fill()
        elif untouched(current, self._intent) and failure(current, slot, self._intent, self._now):
            self.clear_old()  # it fared no better before the swap: it stays as it was
        elif (
            self._intent.back
            and current.swap == self._intent.serial
            and (reason := failure(current, slot, self._intent, self._now))
        ):
            self._give_up(current, reason)
        elif not current.live and slot.away(current):
            self._move_volumes(current)
        elif not current.live:
            self._start_again(current)
        elif not current.proven:
            self._keep_old()
            batch.wait(
                f"slot {slot.number}: {current.id} boots and seals itself", current.started + self._intent.boot_deadline
            )
        elif slot.away(current):
            self._move_volumes(current)
        elif current.serving:
            self.clear_old()
        elif current.standby and not launched_by_swap(current, self._intent):
            self._keep_old()  # people keep it out of traffic: who serves in its place stays
        else:
            self._bring_into_service(current)

    def _fill(self) -> None:
        if self._intent.back and not self._can_relaunch():
            self._leave_behind()
            return
        free = [volume for volume in self._slot.volumes if volume.attached_to is None]
        unfit = [volume for volume in free if volume in self._slot.unfit]
        if unfit:
            self._batch.modify(unfit, self._intent.aim.volumes)
            self._batch.reserve()
            self._keep_old()
            return
        full = not self._batch.launch(self._slot.number, [volume.id for volume in free], self._slot.attempt)
        if full:
            self._batch.wait(f"slot {self._slot.number}: no more than {self._intent.ceiling} instances at a time")
        keeper = self._slot.keeper
        lame = (
            keeper and not keeper.healthy and self._slot.away(keeper)
        )  # without its volumes it never gets healthy, and no deadline runs
        if full and keeper and keeper.live and (lame or self._given_up(keeper)):
            self._batch.take_down(keeper, given_up=True)  # it serves nobody, but takes the place of who could
        else:
            self._keep_old()

    def _can_relaunch(self) -> bool:
        return self._intent.origin is not None and not self._intent.origin_problem

    def _leave_behind(self) -> None:
        """Nothing of what ran before is left, and it cannot be launched: what serves may stay, what failed goes."""
        why = self._intent.origin_problem or "nothing is known of what ran before"
        if not any(view.serving for view in self._slot.old):
            self.clear_old()
        elif self._slot.old[1:]:
            self._keep_old()
        self.lost = f"slot {self._slot.number}: {why}"

    def _keep_old(self) -> None:
        """Until the new one is ready the old one serves, brought back if need be; its duplicates stop."""
        keeper = self._slot.keeper
        if (
            keeper
            and keeper.ready
            and not keeper.standby
            and keeper.member not in (UP, DOWN)
            and not self._undone(keeper)
        ):
            self._batch.register(keeper)
        for view in self._slot.old:
            if view.stopping or (view is not keeper and (view.live or view.member is not None)):
                self._batch.take_down(view, given_up=self._given_up(view))
            elif not view.live and view.member is not None:
                self._batch.deregister(view.id)

    def _move_volumes(self, current: InstanceView) -> None:
        batch, away = self._batch, self._slot.away(current)
        holders = [view for view in self._slot.old if any(volume.attached_to == view.id for volume in away)]
        for view in holders:
            # As after a restart of the balancer: it is needed in service before it may go.
            needed = (
                view.live
                and view.healthy
                and not self._given_up(view)
                and batch.below_floor()
                and not self._undone(view)
            )
            if needed and view.member is None:
                batch.register(view)
            elif needed and view.member == DOWN:
                batch.wait(
                    f"slot {view.slot}: the load balancer checks {view.id}",
                    view.member_since + self._intent.health_deadline,
                )
            elif batch.take_down(view, given_up=self._given_up(view)):
                batch.detach(volume.id for volume in away if volume.attached_to == view.id)
        if holders:
            return
        free = [volume for volume in away if volume.attached_to is None]
        unfit = [volume for volume in free if volume in self._slot.unfit]
        if unfit:
            batch.modify(unfit, self._intent.aim.volumes)
        elif free:
            batch.attach([volume.id for volume in free], current)
        else:
            batch.wait(
                f"slot {self._slot.number}: {away[0].id} is attached to {away[0].attached_to}, which is not in this slot"
            )

    def _start_again(self, current: InstanceView) -> None:
        """Only on the way back: it was stopped for the new one."""
        if current.member is not None:
            self._batch.deregister(current.id)
        elif not self._batch.start(current):
            # Whoever failed in this slot has taken its place.
            for view in self._slot.old:
                if not view.serving:
                    self._batch.take_away(view, given_up=True)
            self._batch.wait(f"slot {self._slot.number}: no more than {self._intent.ceiling} instances at a time")

    def _give_up(self, current: InstanceView, reason: str) -> None:
        """What was launched to go back fails as well: whoever serves stays, and the slot is told to be lost."""
        self.lost = f"slot {self._slot.number}: {current.id} was launched to go back and failed: {reason}"
        for view in self._slot.old:
            if launched_by_swap(view, self._intent) and not view.serving:
                self._batch.take_away(view, given_up=True)

    def _bring_into_service(self, current: InstanceView) -> None:
        number, limit = self._slot.number, self._intent.health_deadline
        if not current.healthy:
            self._batch.wait(
                f"slot {number}: {current.id} becomes healthy ({current.problem})", current.waiting_since + limit
            )
        elif current.member == DOWN:
            self._batch.wait(f"slot {number}: the load balancer checks {current.id}", current.member_since + limit)
        else:
            self._batch.register(current)
        if not self._slot.volumes:
            self._keep_old()

    def keep(self) -> None:
        """The slot's turn has not come: nothing but to see that it serves."""
        self._keep_old()

    def clear_old(self) -> None:
        for view in self._slot.old:
            self._batch.take_away(view, given_up=self._given_up(view))

    def _undone(self, view: InstanceView) -> bool:
        """On the way back: the swap made it. It may serve on until its successor does, but is not put in service any more."""
        return self._intent.back and launched_by_swap(view, self._intent) and view.swap != self._intent.serial

    def _given_up(self, view: InstanceView) -> bool:
        """On the way back what the swap made is given up as soon as it is not well."""
        failed = bool(failure(view, self._slot, self._intent, self._now))
        return failed or (self._intent.back and launched_by_swap(view, self._intent) and not view.healthy)


def replacement_priority(slot: Slot) -> tuple[bool, int]:
    """The worse a slot fares the earlier it comes: its replacement only raises what is in service, and where volumes keep
    others from going on before that, the places under the ceiling must not have gone to them. Tainted hosts come before the rest."""
    keeper = slot.keeper
    rank = keeper.live + keeper.healthy + keeper.serving if keeper else 0
    return (not (keeper and keeper.tainted) and rank == 3, rank)
