# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The slots of a fleet in one word, such as ``[##+=]``, for the progress of a swap on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Intent
from ..observed import Observed

EMPTY, OLD, COMING, NEW = ".=+#"  # nothing serves; the old serves; a new one is coming; the new serves
_ORDER = (EMPTY, OLD, COMING, NEW)  # from the least advanced
LEGEND = "each mark is a slot: = old, + new but not in service yet, # new and in service, . nothing in service"
LONGEST = 40  # characters; each of them stands for several slots of a larger fleet


def slot_bar(states: Sequence[str]) -> str:
    """Return one character for each slot. Of a larger fleet, a character shows the slot that is least advanced."""
    if not states:
        return ""
    each = -(-len(states) // LONGEST)
    shown = [min(states[first : first + each], key=_ORDER.index) for first in range(0, len(states), each)]
    return f"[{''.join(shown)}]"


def renewed(states: Sequence[str]) -> str:
    """Return how many slots the new version serves, such as ``2 of 3 new``; "" if the fleet is to have none."""
    return f"{states.count(NEW)} of {len(states)} new" if states else ""


def slot_states(observed: Observed, intent: Intent) -> list[str]:
    """Return one of the four characters for each slot."""
    states = [EMPTY] * max(0, intent.size)
    for view in observed.instances:
        if not 0 <= view.slot < intent.size or not view.live:
            continue
        new = view.image == intent.image and view.launch == intent.launch
        state = (NEW if view.serving else COMING) if new else OLD if view.serving else EMPTY
        states[view.slot] = max(states[view.slot], state, key=_ORDER.index)
    return states
