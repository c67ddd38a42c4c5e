# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Notices a switch of traffic that something outside the swap undid. Pure."""

from __future__ import annotations

from ..actions import Action, Switch
from ..model import Intent
from ..observed import Observed
from ..planning.slots import launched_by_swap


def undone_switch(action: Action, observed: Observed, intent: Intent) -> str:
    """Return the event to note if the action repeats an earlier switch that something else undid, else ""."""
    if not isinstance(action, Switch) or intent.rolling_back or intent.strategy != "blue_green":
        return ""
    earlier = all(not launched_by_swap(view, intent) for view in observed.instances if view.id in action.on)
    if not intent.flipped and not (earlier and not observed.serving):
        return ""
    whose = "this swap" if intent.flipped else "an earlier swap"
    return (
        f"something else, such as terraform apply, undid the switch of {whose} at the load balancer; "
        "traffic is switched again"
    )
