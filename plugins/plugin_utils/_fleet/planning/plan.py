# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pure function that decides what is safe now, given what was observed and what is intended.

It has no input or output, no clock and no memory. It depends only on the observation, so it resumes a swap that was
interrupted anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..._core.errors import FleetError
from ..._providers.contract import DRAIN
from ..actions import AFTER_SWAP, BEFORE_SWAP, BeginRollback, Done, Gate, Outcome, Pause, Stopped
from ..model import ABSENT, REIMAGE, Intent
from ..observed import InstanceView, Observed
from .absent import plan_absent
from .blue_green import plan_blue_green
from .canary import soak_failure
from .recreate import plan_recreate
from .reimage import plan_reimage
from .rolling import plan_rolling
from .slots import Slot, assign_to_slots, failure_reason, launch_problem

Strategy = Callable[[Observed, Intent, float], Outcome]
BLUE_GREEN = "blue_green"
STRATEGIES: dict[str, Strategy] = {
    "rolling": plan_rolling,
    "canary": plan_rolling,
    BLUE_GREEN: plan_blue_green,
    "recreate": plan_recreate,
    REIMAGE: plan_reimage,
}


def plan(observed: Observed, intent: Intent, now: float) -> Outcome:
    """Return the next outcome. ``now`` is by the provider's clock. Raises FleetError for an unknown strategy."""
    if intent.goal == ABSENT:
        return plan_absent(observed, intent, now)
    try:
        strategy = STRATEGIES[intent.strategy]
    except KeyError:
        raise FleetError(f"unknown strategy {intent.strategy!r} (allowed: {', '.join(sorted(STRATEGIES))})") from None
    if intent.rolling_back:
        revoked = observed.revoked.get(intent.desired.image)
        return (
            Stopped(f"{intent.reason}; what ran before was revoked: {revoked}")
            if revoked
            else strategy(observed, intent, now)
        )
    rollback = _rollback_due(observed, intent, now) if intent.begun else None
    if rollback:
        return rollback
    outcome = strategy(observed, intent, now)
    if isinstance(outcome, Done):
        due = intent.begun and intent.after_swap and AFTER_SWAP not in intent.passed
        return Gate(AFTER_SWAP, playbook=intent.after_swap, slots=tuple(range(intent.size))) if due else outcome
    if intent.before_swap and BEFORE_SWAP not in intent.passed and not isinstance(outcome, Pause):
        return Gate(BEFORE_SWAP, playbook=intent.before_swap)
    return outcome


def _rollback_due(observed: Observed, intent: Intent, now: float) -> BeginRollback | None:
    """The rollback, if one is due."""
    if observed.alarms:
        return BeginRollback(f"alarm: {'; '.join(observed.alarms)}")
    if intent.image in observed.revoked:
        return BeginRollback(f"{intent.image_name or intent.image} was revoked: {observed.revoked[intent.image]}")
    slots, _surplus = assign_to_slots(observed, intent, now)
    for slot in slots:
        view = slot.current
        reason = failure_reason(view, slot, intent, now) or _unchecked(view, intent, now) if view else ""
        if view and reason:
            return BeginRollback(f"slot {slot.number}: {view.id} failed: {reason}", view.id)
        problem = "" if view else launch_problem(slot.number, intent)
        if problem:
            return BeginRollback(problem, next((d.id for d in reversed(intent.deaths) if d.slot == slot.number), ""))
    failed_soak = soak_failure(slots, intent)
    if failed_soak:
        return failed_soak
    if intent.deadline and now > intent.resumed + intent.deadline and not _only_cleanup_left(slots, intent):
        return BeginRollback(f"the swap did not end within its deadline of {intent.deadline:g} s")
    return None


def _unchecked(view: InstanceView, intent: Intent, now: float) -> str:
    """Why a staged member failed, or "". It gets no requests, but its checks must pass in time."""
    late = now > view.checked_since + intent.health_deadline
    if intent.strategy == BLUE_GREEN and view.member == DRAIN and view.proven and not view.passing and late:
        return f"the load balancer's checks did not pass within {intent.health_deadline:g} s"
    return ""


def _only_cleanup_left(slots: Sequence[Slot], intent: Intent) -> bool:
    """Whether only replaced instances remain to be removed."""
    return all(slot.current and slot.current.serving for slot in slots) and not intent.stages
