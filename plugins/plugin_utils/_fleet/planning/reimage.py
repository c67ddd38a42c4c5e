# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``reimage``: an instance stays, and boots from another image.

Its slot is out of service meanwhile, so the floor says how many slots are reimaged at a time. The replaced root is kept
until the slot serves again. A slot without an instance that can be reimaged is recreated.
"""

from __future__ import annotations

from ..._providers.contract import STOPPED, InstanceState
from ..._providers.root_state import BUSY, REQUESTED
from ..actions import Outcome
from ..model import Intent
from ..observed import InstanceView, Observed
from .batch import ActionBatch
from .ending import begin, conclude
from .holds import holds
from .recreate import Recreation, stays_as_is
from .rolling import by_priority
from .slots import Slot, assign_to_slots, is_given_up, launch_problem, relaunch_problem
from .step import SlotStep


def plan_reimage(observed: Observed, intent: Intent, now: float) -> Outcome:
    slots, surplus = assign_to_slots(observed, intent, now)
    batch = begin(observed, intent, now, surplus)
    held = holds(slots, intent, now)
    blocked: list[str] = []
    for slot in by_priority(slots):
        if slot.number in held:
            SlotStep(slot, batch, intent, now).keep()
            continue
        step = _Reimaging(slot, observed.replaces_in, batch, intent, now=now)
        step.plan()
        blocked += step.blocked
    return batch.outcome() or conclude(held, blocked, intent)


class _Reimaging:
    """The next step of one slot.

    Args:
        replaces_in: the state in which the provider replaces an instance's root.

    Attributes:
        blocked: why the slot cannot reach the desired version.
    """

    def __init__(
        self, slot: Slot, replaces_in: InstanceState | None, batch: ActionBatch, intent: Intent, *, now: float
    ) -> None:
        self.blocked: list[str] = []
        self._slot = slot
        self._replaces_in = replaces_in
        self._batch = batch
        self._intent = intent
        self._now = now

    def plan(self) -> None:
        slot, current = self._slot, self._slot.current
        if current and current.serving and current.root.previous:
            self._batch.release(current)
        if slot.finished or stays_as_is(slot, self._intent, self._now):
            return
        candidate = self._candidate() if current is None else None
        if current and current.root.change == REQUESTED:
            self._resume(current)
        elif candidate:
            self._reimage(candidate)
        else:
            recreation = Recreation([slot], self._batch, self._intent, self._now)
            recreation.plan()
            self.blocked += recreation.blocked

    def _candidate(self) -> InstanceView | None:
        """The old instance that is reimaged, or None if the slot needs another one."""
        view = self._slot.fallback
        if view is None or self._replaces_in is None or self._replaces_in == STOPPED:
            return view if self._replaces_in else None
        # A volume can be modified only while it is detached, and an instance that runs keeps its volumes.
        return view if view.live and not self._slot.to_modify else None

    def _reimage(self, view: InstanceView) -> None:
        slot, batch, intent = self._slot, self._batch, self._intent
        problem = relaunch_problem(slot, intent) if intent.rolling_back else ""
        if problem:
            self.blocked.append(problem)
            SlotStep(slot, batch, intent, self._now).keep()
        elif slot.missing:
            batch.create_volumes(slot.number, slot.missing)
        elif view.root.change == BUSY:
            batch.wait(f"slot {slot.number}: {view.id}: {view.root.problem}", view.started + intent.boot_deadline)
        elif self._out_of_service(view) and self._volumes_fit(view) and not batch.reimage(view, slot.attempt):
            batch.wait_for_room(slot.number)

    def _out_of_service(self, view: InstanceView) -> bool:
        """Plan the next steps of the slot's instances out of service. Whether the root of ``view`` can be replaced."""
        for spare in self._slot.old[1:]:
            self._batch.stop(spare, given_up=self._is_given_up(spare))
        given_up = self._is_given_up(view)
        if self._replaces_in == STOPPED:
            return self._batch.stop(view, given_up)
        return self._batch.take_out_of_traffic(view, given_up)

    def _volumes_fit(self, view: InstanceView) -> bool:
        """Plan the next step of volumes that must be modified while ``view`` is stopped."""
        batch, to_modify = self._batch, self._slot.to_modify
        held = [volume.id for volume in to_modify if volume.attached_to == view.id]
        free = [volume for volume in to_modify if volume.attached_to is None]
        if held:
            batch.detach(held)
        elif free:
            batch.modify(free, self._intent.desired.volumes)
        return not (held or free)

    def _resume(self, current: InstanceView) -> None:
        """Begin what an interrupted run recorded."""
        problem = launch_problem(self._slot.number, self._intent)
        if problem:
            self.blocked.append(problem)
            return
        attempt = current.attempt if current.swap == self._intent.serial else self._slot.attempt
        if not self._batch.reimage(current, attempt):
            self._batch.wait_for_room(self._slot.number)

    def _is_given_up(self, view: InstanceView) -> bool:
        return is_given_up(view, self._slot, self._intent, self._now)
