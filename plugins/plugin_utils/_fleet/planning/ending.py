# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How every strategy begins, with what belongs to no slot, and what it says when no slot has anything left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..actions import BeginRollback, Done, Outcome, Pause, Stopped
from ..model import InstanceView, Intent, Observed
from .batch import ActionBatch
from .holds import Hold
from .slots import launched_by_swap


def begin(observed: Observed, intent: Intent, now: float, surplus: Iterable[InstanceView]) -> ActionBatch:
    """A batch that takes away what no slot of the aim has a place for."""
    batch = ActionBatch(observed, intent, now)
    for stray in observed.strays:
        batch.deregister(stray)
    for view in surplus:
        batch.take_away(view, given_up=intent.back and launched_by_swap(view, intent) and not view.healthy)
    return batch


def conclude(held: Mapping[int, Hold], lost: Iterable[str], intent: Intent) -> Outcome:
    if intent.back:
        return Stopped("; ".join([intent.reason, *filter(None, lost)]))
    short = [*filter(None, lost)]
    if short:
        return BeginRollback("; ".join(short))
    waiting = {number: hold for number, hold in held.items() if not hold.skip}
    if waiting:
        number, hold = min(
            waiting.items(), key=lambda each: (each[1].later, each[0])
        )  # what others wait for explains more
        more = f" (and {len(waiting) - 1} more slots)" if len(waiting) > 1 else ""
        return Pause(f"slot {number}: {hold.reason}{more}")
    return Done(tuple(sorted(held)))
