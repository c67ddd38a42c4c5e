# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all strategies begin and end with: removing what belongs to no slot, and the outcome once all slots are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..actions import BeginRollback, Done, Outcome, Pause, Stopped
from ..model import Intent
from ..observed import InstanceView, Observed
from .batch import ActionBatch
from .holds import Hold
from .slots import launched_by_swap


def begin(observed: Observed, intent: Intent, now: float, surplus: Iterable[InstanceView]) -> ActionBatch:
    """A batch that removes whatever belongs to no slot of the desired version."""
    batch = ActionBatch(observed, intent, now)
    for member in observed.orphaned_members:
        batch.deregister(member)
    for view in surplus:
        batch.remove(view, given_up=intent.rolling_back and launched_by_swap(view, intent) and not view.healthy)
    return batch


def conclude(held: Mapping[int, Hold], blocked: Iterable[str], intent: Intent) -> Outcome:
    """The outcome once no slot has anything left to do.

    Args:
        held: slots that may not be replaced yet, by number.
        blocked: why slots cannot reach the desired version; "" for those that did.
    """
    if intent.rolling_back:
        return Stopped("; ".join(dict.fromkeys([intent.reason, *filter(None, blocked)])))
    reasons = [*filter(None, blocked)]
    if reasons:
        return BeginRollback("; ".join(reasons))
    waiting = {number: hold for number, hold in held.items() if not hold.skip}
    if waiting:
        # Prefer a hold that the other slots wait for: it explains more.
        number, hold = min(waiting.items(), key=lambda item: (item[1].later, item[0]))
        more = f" (and {len(waiting) - 1} more slots)" if len(waiting) > 1 else ""
        return Pause(f"slot {number}: {hold.reason}{more}")
    return Done(tuple(sorted(held)))
