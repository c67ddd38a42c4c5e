# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``blue_green``: a whole second fleet beside the first, the traffic flips at once, the first stays warm for a while.

Going back is the same flip the other way round, as long as the first fleet is warm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._providers.contract import DOWN, DRAIN, UP
from ..actions import Outcome, Remember
from ..model import InstanceView, Intent, Observed
from .batch import ActionBatch
from .ending import conclude
from .holds import Hold, holds
from .slots import Slot, arrange, failure, launched_by_swap, untouched


def plan_blue_green(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = arrange(observed, intent, now)
    held = holds(slots, intent, now)
    if any(not hold.skip for hold in held.values()):  # the fleet goes as a whole or not at all
        return conclude(held, (), intent)
    return _Flip(observed, slots, surplus, intent, now, held).plan()


class _Flip:
    def __init__(
        self,
        observed: Observed,
        slots: Sequence[Slot],
        surplus: Sequence[InstanceView],
        intent: Intent,
        now: float,
        held: dict[int, Hold],
    ) -> None:
        self._slots = [slot for slot in slots if slot.number not in held]
        self._held = held
        self._surplus = surplus
        self._intent = intent
        self._now = now
        self._serving = observed.serving
        self._in_service = {view.id for view in observed.instances if view.serving}
        self._batch = ActionBatch(observed, intent, now)
        for stray in observed.strays:
            self._batch.deregister(stray)
        self._lost: list[str] = []
        self._growing = False  # a slot has not got its instance of the aim yet
        self._hold_old([view for slot in slots if slot.number in held for view in slot.old])

    def plan(self) -> Outcome:
        new = [view for view in map(self._grown, self._slots) if view]
        old = [view for slot in self._slots for view in slot.old] + list(self._surplus)
        if self._growing:
            self._hold_old(old)
        elif all(view.serving for view in new) and len(new) + self._staying(new, old) >= min(
            self._batch.floor, self._serving
        ):
            if self._intent.begun and self._intent.keep_old and old and not (self._intent.back or self._intent.flipped):
                return Remember(replace(self._intent, flipped=self._now), "traffic flipped")
            self._retire()
        else:
            self._put_in_service(new, old)
        return self._batch.outcome() or conclude(self._held, self._lost, self._intent)

    def _grown(self, slot: Slot) -> InstanceView | None:
        """The slot's instance of the aim once it is ready to serve; until then its next step is planned."""
        current, intent = slot.current, self._intent
        if current is None and intent.back and (intent.origin is None or intent.origin_problem):
            self._lost.append(f"slot {slot.number}: {intent.origin_problem or 'nothing is known of what ran before'}")
        elif current is None:
            self._growing = True
            if not self._batch.launch(slot.number, (), slot.attempt):
                self._make_room(slot)
        elif untouched(current, intent) and failure(current, slot, intent, self._now):
            pass  # it fared no better before the swap: it stays as it was
        elif current.standby and not launched_by_swap(current, intent) and current.proven:
            pass  # people keep it out of traffic
        elif intent.back and current.swap == intent.serial and (reason := failure(current, slot, intent, self._now)):
            self._lost.append(f"slot {slot.number}: {current.id} was launched to go back and failed: {reason}")
        elif current.ready:
            return current
        else:
            self._growing = True
            self._grow(slot, current)
        return None

    def _grow(self, slot: Slot, current: InstanceView) -> None:
        intent = self._intent
        if not current.live:
            if not self._batch.start(current):
                self._make_room(slot)
        elif not current.proven:
            self._batch.wait(
                f"slot {slot.number}: {current.id} boots and seals itself", current.started + intent.boot_deadline
            )
        else:
            self._batch.wait(
                f"slot {slot.number}: {current.id} becomes healthy ({current.problem})",
                current.waiting_since + intent.health_deadline,
            )

    def _make_room(self, slot: Slot) -> None:
        """What serves nobody, or serves a slot that another one serves as well, takes the place of who could."""
        self._batch.wait(f"slot {slot.number}: no more than {self._intent.ceiling} instances at a time")
        for view in self._surplus:
            self._batch.take_away(view)
        for each in self._slots:
            for number, view in enumerate(each.old):
                failed = bool(failure(view, each, self._intent, self._now))
                if number or view.stopping or (failed and not view.serving):
                    self._batch.take_away(view, given_up=failed)

    def _put_in_service(self, new: Sequence[InstanceView], old: Sequence[InstanceView]) -> None:
        """Stage all, and when all pass their checks, flip."""
        batch = self._batch
        unknown = [view for view in new if view.member is None]
        checked = [view for view in new if view.member is not None and not (view.passing or view.member == UP)]
        if unknown:
            batch.register_staged(unknown)
        elif checked:
            until = max(checked[0].member_since, checked[0].waiting_since) + self._intent.health_deadline
            batch.wait(f"slot {checked[0].slot}: the load balancer checks {checked[0].id}", until)
        elif len(new) + self._staying(new, old) < min(batch.floor, self._serving):
            self._lost.append(f"traffic stays where it is: only {len(new)} of {len(self._slots)} could take it")
            return
        else:
            batch.switch(
                [view for view in new if view.member == DRAIN], [view for view in old if view.member in (UP, DOWN)]
            )
            return
        self._hold_old(old)

    def _staying(self, new: Sequence[InstanceView], old: Sequence[InstanceView]) -> int:
        """How many serve that the flip does not touch: those of slots that are held."""
        return len(self._in_service - {view.id for view in (*new, *old)})

    def _hold_old(self, old: Sequence[InstanceView]) -> None:
        """Until the flip the old fleet serves, brought back where the balancer lost it."""
        served = {view.slot for view in old if view.member == UP}
        keepers = {slot.keeper.id for slot in self._slots if slot.keeper}
        for view in old:
            # What drains to make room stays out; the one that a slot is kept by does not.
            out = view.member is None or (view.member == DRAIN and not self._intent.flipped and view.id in keepers)
            if (
                view.ready
                and not view.standby
                and out
                and view.slot not in served
                and not launched_by_swap(view, self._intent)
            ):
                self._batch.register(view)
                served.add(view.slot)

    def _retire(self) -> None:
        until = self._intent.flipped + self._intent.keep_old
        warm = not self._intent.back and bool(self._intent.keep_old) and self._now < until
        for view in self._surplus:
            self._let_go(
                view, warm, bool(self._intent.back and launched_by_swap(view, self._intent) and not view.healthy)
            )
        for slot in self._slots:
            for view in slot.old:
                failed = bool(failure(view, slot, self._intent, self._now)) or (self._intent.back and not view.healthy)
                self._let_go(view, warm and not failed, failed)
        if warm and any(view.live for view in (*self._surplus, *(each for slot in self._slots for each in slot.old))):
            self._batch.wait("the old fleet stays warm", until, idle=True)

    def _let_go(self, view: InstanceView, warm: bool, given_up: bool) -> None:
        if not (warm and view.live):
            self._batch.take_away(view, given_up)
        elif view.member in (UP, DOWN):
            self._batch.take_out(view)
