# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stages of a canary: some slots run the new image, then time, a metric, a playbook and a user must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._providers.contract import UP
from ..actions import BeginRollback, Gate, Outcome, Pause, Remember, Wait
from ..model import Intent
from .slots import Slot, launched_by_swap


def stage_limit(intent: Intent) -> int | None:
    """How many slots may run the new image at the current stage, or None if there is no limit."""
    number = current_stage(intent)
    return None if number is None else int(intent.stages[number].instances)


def current_stage(intent: Intent) -> int | None:
    """The number of the stage from 0, or None after the last one."""
    return next((number for number in range(len(intent.stages)) if _name(number) not in intent.passed), None)


def stage_outcome(
    slots: Sequence[Slot], intent: Intent, now: float, *, left: int = 0, waiting: int = 0
) -> Outcome | None:
    """What the current stage asks for once its slots are swapped, or None.

    Args:
        left: number of slots that a policy leaves as they are.
        waiting: number of slots that wait for others. If there are any, the stage also begins a swap that has had
            nothing to change so far: instances of the new image can fill its first stage from the start.
    """
    number = current_stage(intent)
    if number is None or intent.rolling_back or not (intent.begun or waiting):
        return None
    stage, name = intent.stages[number], _name(number)
    swapped = tuple(slot.number for slot in slots if slot.in_standby or (slot.current and slot.current.serving))
    begun = [slot.number for slot in slots if slot.current and launched_by_swap(slot.current, intent)]
    if not intent.reached and (
        len(swapped) < min(int(stage.instances), len(slots) - left) or not set(begun) <= set(swapped)
    ):
        return None
    if not intent.reached:
        return Remember(replace(intent, reached=now), f"{name} reached: {len(swapped)} of {len(slots)}")
    if now < intent.reached + stage.soak:
        return Wait(f"{name} soaks for {stage.soak:g} s", intent.reached + stage.soak, idle=True, metric=stage.metric)
    if stage.metric and f"{name} metric" not in intent.passed:
        return Gate(f"{name} metric", metric=stage.metric, slots=swapped)
    if stage.check and f"{name} check" not in intent.passed:
        return Gate(f"{name} check", playbook=stage.check, slots=swapped)
    if stage.approval and f"{name} approval" not in intent.passed:
        return Pause(f"{name} is done and waits for approval", gate=f"{name} approval")
    return Remember(replace(intent, passed=(*intent.passed, name), reached=0.0), f"{name} passed")


def soak_failure(slots: Sequence[Slot], intent: Intent) -> BeginRollback | None:
    """The rollback that is due if a canary stops serving while its stage soaks.

    The load balancer must agree, because one failed probe decides nothing.
    """
    if not intent.reached:
        return None
    for slot in slots:
        view = slot.current
        # An instance launched since then fills an empty slot and is still booting.
        soaking = view and view.created < intent.reached
        failed = view and not view.serving and (view.member != UP or not view.live)
        if view and soaking and failed and launched_by_swap(view, intent):
            number = current_stage(intent)
            stage = _name(number) if number is not None else "the last stage"
            return BeginRollback(
                f"{stage}: slot {slot.number}: {view.id} stopped serving ({view.problem or view.member})", view.id
            )
    return None


def _name(number: int) -> str:
    return f"stage {number + 1}"
