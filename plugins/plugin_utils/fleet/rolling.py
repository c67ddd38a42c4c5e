# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``rolling``: slot by slot, the new instance before the old one goes, within floor and ceiling."""
from __future__ import annotations

from .batch import Batch
from .model import DOWN, ROLLBACK, UP, InstanceView, Intent, Observed
from .outcome import BeginRollback, Outcome
from .rollback import plan_rollback
from .slots import Slot, arrange, failure


def plan_rolling(observed: Observed, intent: Intent, now: float) -> Outcome:
    if intent.stage == ROLLBACK:
        return plan_rollback(observed, intent, now)
    slots, surplus = arrange(observed, intent, now)
    for slot in slots:
        reason = failure(slot.current, slot, intent, now) if slot.current else ""
        if slot.current and reason:
            return BeginRollback(f"slot {slot.number}: {slot.current.id} failed: {reason}", slot.current.id)
    batch = Batch(observed, intent, now)
    for stray in observed.strays:
        batch.deregister(stray)
    for view in surplus:
        if batch.take_out(view):
            batch.remove(view)
    # The worse a slot fares the earlier it comes: its replacement only raises what is in service, and where volumes keep
    # others from going on before that, the places under the ceiling must not have gone to them.
    for slot in sorted(slots, key=lambda slot: (_fares(slot.keeper), slot.number)):
        _Step(slot, batch, intent, now).plan()
    return batch.outcome()


def _fares(keeper: InstanceView | None) -> int:
    return keeper.running + keeper.healthy + keeper.serving if keeper else 0


class _Step:
    """What one slot needs next."""

    def __init__(self, slot: Slot, batch: Batch, intent: Intent, now: float) -> None:
        self._slot = slot
        self._batch = batch
        self._intent = intent
        self._now = now

    def plan(self) -> None:
        slot, batch, current = self._slot, self._batch, self._slot.current
        if slot.missing:
            batch.create_volumes(slot.number, slot.missing)
            if current is None:  # it is launched at the next look, and slots that come after it must not take its place
                batch.reserve()
        elif current is None:
            self._fill()
        elif not current.proven:
            self._keep_old()
            batch.wait(f"slot {slot.number}: {current.id} boots and seals itself", current.started + self._intent.boot_deadline)
        elif slot.away(current):
            self._move_volumes(current)
        elif current.serving:
            self._retire_old()
        else:
            self._bring_into_service(current)

    def _fill(self) -> None:
        free = [volume.id for volume in self._slot.volumes if volume.attached_to is None]
        full = not self._batch.launch(self._slot.number, free)
        if full:
            self._batch.wait(f"slot {self._slot.number}: no more than {self._intent.ceiling} instances at a time")
        keeper = self._slot.keeper
        lame = keeper and not keeper.healthy and self._slot.away(keeper)  # without its volumes it never gets healthy, and no deadline runs
        if full and keeper and keeper.running and (lame or self._given_up(keeper)):
            self._batch.take_out(keeper, given_up=True)  # it serves nobody, but takes the place of who could
        else:
            self._keep_old()

    def _keep_old(self) -> None:
        """Until the new one is ready the old one serves, brought back if need be; its duplicates stop."""
        keeper = self._slot.keeper
        if keeper and keeper.healthy and keeper.proven and keeper.member not in (UP, DOWN):
            self._batch.register(keeper)
        for view in self._slot.old:
            if not view.running and view.member is not None:
                self._batch.deregister(view.id)
            elif view is not keeper and (view.running or view.member is not None):
                self._batch.take_out(view, given_up=self._given_up(view))

    def _move_volumes(self, current: InstanceView) -> None:
        away = self._slot.away(current)
        holders = [view for view in self._slot.old if any(volume.attached_to == view.id for volume in away)]
        held = {view.id for view in holders}
        for view in holders:
            # As after a restart of the balancer: it is needed in service before it may go.
            needed = view.running and view.healthy and not self._given_up(view) and self._batch.below_floor()
            if needed and view.member is None:
                self._batch.register(view)
            elif needed and view.member == DOWN:
                self._batch.wait(f"slot {view.slot}: the load balancer checks {view.id}", view.member_since + self._intent.health_deadline)
            elif self._batch.take_out(view, given_up=self._given_up(view)):
                self._batch.detach(volume.id for volume in away if volume.attached_to == view.id)
        if held:
            return
        free = [volume.id for volume in away if volume.attached_to is None]
        if free:
            self._batch.attach(free, current)
        else:
            self._batch.wait(f"slot {self._slot.number}: {away[0].id} is attached to {away[0].attached_to}, which is not in this slot")

    def _bring_into_service(self, current: InstanceView) -> None:
        if not current.healthy:
            self._batch.wait(
                f"slot {self._slot.number}: {current.id} becomes healthy ({current.problem})", current.waiting_since + self._intent.health_deadline
            )
        elif current.member == DOWN:
            self._batch.wait(f"slot {self._slot.number}: the load balancer checks {current.id}", current.member_since + self._intent.health_deadline)
        else:
            self._batch.register(current)
        if not self._slot.volumes:
            self._keep_old()

    def _retire_old(self) -> None:
        for view in self._slot.old:
            if self._batch.take_out(view, given_up=self._given_up(view)):
                self._batch.remove(view)

    def _given_up(self, view: InstanceView) -> bool:
        return bool(failure(view, self._slot, self._intent, self._now))
