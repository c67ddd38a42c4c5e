# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pure heart: what is safe now, given what is and what shall be.

No I/O, no clock, no memory. It looks only at what was observed, so a swap that was cut anywhere is simply gone on with.
"""
from __future__ import annotations

from collections.abc import Callable

from ..errors import FleetError
from .absent import plan_absent
from .model import ABSENT, Intent, Observed
from .outcome import Outcome
from .rolling import plan_rolling

Strategy = Callable[[Observed, Intent, float], Outcome]
STRATEGIES: dict[str, Strategy] = {"rolling": plan_rolling}


def plan(observed: Observed, intent: Intent, now: float) -> Outcome:
    """Raises FleetError for an unknown strategy."""
    if intent.goal == ABSENT:
        return plan_absent(observed, intent, now)
    try:
        strategy = STRATEGIES[intent.strategy]
    except KeyError:
        raise FleetError(f"there is no strategy {intent.strategy!r} (there is: {', '.join(sorted(STRATEGIES))})") from None
    return strategy(observed, intent, now)
