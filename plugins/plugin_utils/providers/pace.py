# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often to look at a cloud whose calls are counted and throttled. Pure."""
from __future__ import annotations

SHORTEST, LONGEST = 0.5, 15.0  # seconds
SHARE = 0.1


def cloud_pace(idle: float) -> float:
    """Seconds until the next look, when nothing has moved for ``idle`` seconds.

    What takes long is looked at seldom: the time that a look comes too late is at most a tenth of what was waited for, and a twentieth on
    the average. So the looks grow with the logarithm of the wait: ten for the first 5 s, 17 more until 26 s, nine more until a minute.
    Nobody waits longer than ``LONGEST`` to learn that an instance died.
    """
    return max(SHORTEST, min(LONGEST, SHARE * idle))
