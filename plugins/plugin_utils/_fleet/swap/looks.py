# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an observation must read where each read is a call that a cloud counts. Pure.

While the swap waits, a look reads only the part that shows the end of the awaited step. Before an action, the look is
completed by each part that the action depends on. A part that this look did not read still holds if nothing but this
run can change what the action depends on there, because the run holds the lease: which instances exist, apart from
those that died, and their marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from ..actions import Act, Action, Drain, Launch, Outcome, Register, Remove
from ..events import AWAITED, BACKGROUND
from ..model import PRESENT, REIMAGE, Intent
from ..observed import InstanceView, Observed

Part = Literal["instances", "members"]
INSTANCES: Final = "instances"  # with the volumes
MEMBERS: Final = "members"
BOTH: Final[frozenset[Part]] = frozenset({INSTANCES, MEMBERS})
OLDEST = 15.0  # seconds: a part that is older is read with the next look, and no action depends on it

_SHOWN_BY: Mapping[str, Part] = {
    "launched": INSTANCES,
    "started again": INSTANCES,
    "sealed": INSTANCES,
    "staged": MEMBERS,
    "registered": MEMBERS,
    "draining": MEMBERS,
    "told to stop": INSTANCES,
    "removed": INSTANCES,
}


def may_be_partial(intent: Intent) -> bool:
    """Whether looks may leave a part out: on the way forward of a begun swap that replaces instances without data."""
    origin = intent.origin
    data = intent.volumes or (origin and origin.volumes)
    plain = intent.goal == PRESENT and intent.strategy != REIMAGE and not data
    return intent.begun and plain and not intent.rolling_back


def parts_shown(events: Iterable[str], count_draining: bool) -> frozenset[Part]:
    """The parts that show the end of the steps in progress, by the events that began them.

    A drain that takes no place under the ceiling runs in the background, like a shutdown.
    """
    present = set(events)
    background = {*BACKGROUND, *(() if count_draining else ("draining",))}
    for group in (set(AWAITED) - background, background):
        if awaited := present & group:
            return frozenset(_SHOWN_BY[event] for event in awaited) if awaited <= set(_SHOWN_BY) else BOTH
    return BOTH


def parts_needed(outcome: Outcome, observed: Observed, intent: Intent) -> frozenset[Part]:
    """The parts that must have been read in this look before the outcome is carried out."""
    if not isinstance(outcome, Act):
        return BOTH
    views = {view.id: view for view in observed.instances}
    return frozenset[Part]().union(*(_needed_for(action, views, intent) for action in outcome.actions))


def _needed_for(action: Action, views: Mapping[str, InstanceView], intent: Intent) -> frozenset[Part]:
    match action:
        case Launch():
            # Only this run launches, so no more instances exist than were read. How they died matters where this swap
            # launched before, and who drains matters if that makes room.
            if any(launch.attempt or intent.launched(launch.slot) for launch in action.slots):
                return BOTH
            return frozenset() if intent.count_draining else frozenset({MEMBERS})
        case Register():
            new = all(each in views and views[each].member is None for each in action.ids)
            return frozenset({INSTANCES}) if new else BOTH
        case Drain():
            return frozenset({MEMBERS})  # a member in service passes the balancer's checks, so its instance runs
        case Remove():
            drained = all(each in views and views[each].live and views[each].member is None for each in action.ids)
            return frozenset({MEMBERS}) if drained else BOTH
        case _:
            return BOTH
