# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The slots of a fleet in one word, such as ``[##+=]``, for the progress of a swap on a terminal. Pure."""

from __future__ import annotations

from ..model import Intent
from ..observed import Observed

EMPTY, OLD, COMING, NEW = ".=+#"  # nothing serves; the old serves; a new one is coming; the new serves
LONGEST = 40  # characters; each of them stands for several slots of a larger fleet


def slot_bar(observed: Observed, intent: Intent) -> str:
    """Return one character for each slot. Of a larger fleet, a character shows the slot that is least advanced."""
    size = intent.size
    if size < 1:
        return ""
    states = [EMPTY] * size
    order = (EMPTY, OLD, COMING, NEW)
    for view in observed.instances:
        if not 0 <= view.slot < size or not view.live:
            continue
        new = view.image == intent.image and view.launch == intent.launch
        state = (NEW if view.serving else COMING) if new else OLD if view.serving else EMPTY
        states[view.slot] = max(states[view.slot], state, key=order.index)
    each = -(-size // LONGEST)
    shown = [min(states[first : first + each], key=order.index) for first in range(0, size, each)]
    return f"[{''.join(shown)}]"
