# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``blue_green``: all traffic moves at once to a complete second fleet, and the first one stays warm.

While the first fleet is warm, a rollback is the same switch in the other direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..._providers.contract import DOWN, DRAIN, UP
from ..actions import Outcome, Remember
from ..model import Intent
from ..observed import InstanceView, Observed
from .batch import ActionBatch
from .ending import conclude
from .holds import Hold, holds
from .slots import (
    Slot,
    assign_to_slots,
    failed_in_rollback,
    failure_reason,
    launched_by_swap,
    relaunch_problem,
    untouched,
)


def plan_blue_green(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = assign_to_slots(observed, intent, now)
    held = holds(slots, intent, now)
    if any(not hold.skip for hold in held.values()):  # the fleet is replaced as a whole or not at all
        return conclude(held, (), intent)
    return _Flip(observed, slots, surplus, intent, now=now, held=held).plan()


class _Flip:
    def __init__(
        self,
        observed: Observed,
        slots: Sequence[Slot],
        surplus: Sequence[InstanceView],
        intent: Intent,
        *,
        now: float,
        held: Mapping[int, Hold],
    ) -> None:
        self._slots = [slot for slot in slots if slot.number not in held]
        self._held = held
        self._surplus = surplus
        self._intent = intent
        self._now = now
        self._serving = observed.serving
        self._in_service = {view.id for view in observed.instances if view.serving}
        self._batch = ActionBatch(observed, intent, now)
        for member in observed.orphaned_members:
            self._batch.deregister(member)
        self._blocked: list[str] = []  # why slots cannot reach the desired version
        self._growing = False  # a slot has no instance of the desired version yet
        self._keep_in_service([view for slot in slots if slot.number in held for view in slot.old])

    def plan(self) -> Outcome:
        intent = self._intent
        ready = [view for view in map(self._ready_instance, self._slots) if view]
        new = [view for view in ready if view.serving or self._batch.may_serve(view)]
        old = [view for slot in self._slots for view in slot.old] + list(self._surplus)
        if self._growing:
            self._keep_in_service(old)
        elif all(view.serving for view in new) and self._keeps_floor(new, old):
            if intent.begun and intent.keep_old and old and not (intent.rolling_back or intent.flipped):
                return Remember(replace(intent, flipped=self._now), "traffic flipped")
            self._retire()
        else:
            self._put_in_service(new, old)
        return self._batch.outcome() or conclude(self._held, self._blocked, intent)

    def _keeps_floor(self, new: Sequence[InstanceView], old: Sequence[InstanceView]) -> bool:
        """Whether enough instances serve after the switch: the new ones, and those of held slots."""
        untouched_by_switch = self._in_service - {view.id for view in (*new, *old)}
        return len(new) + len(untouched_by_switch) >= min(self._batch.floor, self._serving)

    def _ready_instance(self, slot: Slot) -> InstanceView | None:
        """The slot's instance of the desired version once it is ready to serve. Until then its next step is planned."""
        current, intent = slot.current, self._intent
        if current is None and intent.rolling_back and (problem := relaunch_problem(slot, intent)):
            self._blocked.append(problem)
        elif current is None:
            self._growing = True
            if not self._batch.launch(slot.number, (), slot.attempt):
                self._make_room(slot)
        elif untouched(current, intent) and failure_reason(current, slot, intent, self._now):
            pass  # it was unhealthy before the swap too, so it stays as it was
        elif current.standby and not launched_by_swap(current, intent) and current.proven:
            pass  # a user keeps it out of traffic
        elif reason := failed_in_rollback(slot, intent, self._now):
            self._blocked.append(reason)
        elif current.ready:
            return current
        else:
            self._growing = True
            self._grow(slot, current)
        return None

    def _grow(self, slot: Slot, current: InstanceView) -> None:
        if not current.live:
            if not self._batch.start(current):
                self._make_room(slot)
        elif not current.proven:
            self._batch.wait_for_boot(current)
        else:
            self._batch.wait_for_health(current)

    def _make_room(self, slot: Slot) -> None:
        """Remove instances that serve no request, or whose slot another instance serves as well."""
        self._batch.wait_for_room(slot.number)
        for view in self._surplus:
            self._batch.remove(view)
        for other in self._slots:
            for number, view in enumerate(other.old):
                failed = bool(failure_reason(view, other, self._intent, self._now))
                if number or view.stopping or (failed and not view.serving):
                    self._batch.remove(view, given_up=failed)

    def _put_in_service(self, new: Sequence[InstanceView], old: Sequence[InstanceView]) -> None:
        """Stage all new instances, and switch the traffic once all of them pass their checks."""
        batch = self._batch
        unknown = [view for view in new if view.member is None]
        checked = [view for view in new if view.member is not None and not (view.passing or view.member == UP)]
        if unknown:
            batch.register_staged(unknown)
        elif checked:
            view = checked[0]
            batch.wait_for_checks(view)
        elif self._keeps_floor(new, old):
            on = [view for view in new if view.member == DRAIN]
            batch.switch(on, [view for view in old if view.member in (UP, DOWN)])
            return
        else:
            self._blocked.append(f"traffic stays where it is: only {len(new)} of {len(self._slots)} could take it")
            return
        self._keep_in_service(old)

    def _keep_in_service(self, old: Sequence[InstanceView]) -> None:
        """Until the switch the old fleet serves. Members that the load balancer lost are registered again."""
        served = {view.slot for view in old if view.member == UP}
        fallbacks = {slot.fallback.id for slot in self._slots if slot.fallback}
        for view in old:
            # An instance that drains to make room stays out, unless the slot falls back to it.
            draining = view.member == DRAIN and not self._intent.flipped and view.id in fallbacks
            out = view.member is None or draining
            returns = view.ready and not view.standby and not launched_by_swap(view, self._intent)
            if out and returns and view.slot not in served:
                self._batch.register(view)
                served.add(view.slot)

    def _retire(self) -> None:
        intent = self._intent
        until = intent.flipped + intent.keep_old
        warm = not intent.rolling_back and bool(intent.keep_old) and self._now < until
        for view in self._surplus:
            given_up = intent.rolling_back and launched_by_swap(view, intent) and not view.healthy
            self._retire_instance(view, warm, given_up)
        for slot in self._slots:
            for view in slot.old:
                failed = bool(failure_reason(view, slot, intent, self._now))
                failed = failed or (intent.rolling_back and not view.healthy)
                self._retire_instance(view, warm and not failed, failed)
        if warm and any(view.live for view in (*self._surplus, *(v for slot in self._slots for v in slot.old))):
            self._batch.wait("the old fleet stays warm", until, idle=True)

    def _retire_instance(self, view: InstanceView, warm: bool, given_up: bool) -> None:
        if not (warm and view.live):
            self._batch.remove(view, given_up)
        elif view.member in (UP, DOWN):
            self._batch.take_out_of_traffic(view)
