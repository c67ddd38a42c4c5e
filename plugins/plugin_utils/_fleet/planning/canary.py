# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stages of a canary: so many slots on the new image, then time, a metric, a playbook and people must all say yes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._providers.contract import UP
from ..actions import BeginRollback, Gate, Outcome, Pause, Remember, Wait
from ..model import Intent
from .slots import Slot, launched_by_swap


def limit(intent: Intent) -> int | None:
    """How many slots may be on the new image at the present stage, or None where there is no limit (any more)."""
    number = present_stage(intent)
    return None if number is None else int(intent.stages[number].instances)


def present_stage(intent: Intent) -> int | None:
    """Its number from 0, or None after the last one."""
    return next((number for number in range(len(intent.stages)) if _name(number) not in intent.passed), None)


def stage_outcome(slots: Sequence[Slot], intent: Intent, now: float, left: int = 0) -> Outcome | None:
    """What the present stage asks for once its slots are swapped, or None where it asks for nothing. ``left``: slots that stay as they are."""
    number = present_stage(intent)
    if number is None or intent.back or not intent.begun:
        return None
    stage, name = intent.stages[number], _name(number)
    there = tuple(slot.number for slot in slots if slot.resting or (slot.current and slot.current.serving))
    begun = [slot.number for slot in slots if slot.current and launched_by_swap(slot.current, intent)]
    if not intent.reached and (
        len(there) < min(int(stage.instances), len(slots) - left) or not set(begun) <= set(there)
    ):
        return None
    if not intent.reached:
        return Remember(replace(intent, reached=now), f"{name} reached: {len(there)} of {len(slots)}")
    if now < intent.reached + stage.soak:
        return Wait(f"{name} soaks for {stage.soak:g} s", intent.reached + stage.soak, idle=True, metric=stage.metric)
    if stage.metric and f"{name} metric" not in intent.passed:
        return Gate(f"{name} metric", metric=stage.metric, slots=there)
    if stage.check and f"{name} check" not in intent.passed:
        return Gate(f"{name} check", playbook=stage.check, slots=there)
    if stage.approval and f"{name} approval" not in intent.passed:
        return Pause(f"{name} is done and waits for approval", gate=f"{name} approval")
    return Remember(replace(intent, passed=(*intent.passed, name), reached=0.0), f"{name} passed")


def soak_failure(slots: Sequence[Slot], intent: Intent) -> BeginRollback | None:
    """A canary that stops serving while its stage soaks has failed it. The balancer must agree: one lost probe is no verdict."""
    if not intent.reached:
        return None
    for slot in slots:
        view = slot.current
        there = (
            view and view.created < intent.reached
        )  # what was launched since, to fill an empty slot, is still on its way
        if (
            view
            and there
            and launched_by_swap(view, intent)
            and not view.serving
            and (view.member != UP or not view.live)
        ):
            number = present_stage(intent)
            stage = _name(number) if number is not None else "the last stage"
            return BeginRollback(
                f"{stage}: slot {slot.number}: {view.id} stopped serving ({view.problem or view.member})", view.id
            )
    return None


def _name(number: int) -> str:
    return f"stage {number + 1}"
