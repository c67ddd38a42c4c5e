# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often to look at a cloud whose calls are counted and throttled. Pure."""

from __future__ import annotations

SHORTEST, LONGEST = 0.25, 15.0  # seconds
SHARE = 0.1


def cloud_pace(idle: float, due: float = 0.0) -> float:
    """Seconds until the next look, when something has been waited for ``idle`` seconds and is not due for ``due`` seconds.

    What takes long is looked at seldom: a look comes too late by a tenth of what was waited for at most, by a twentieth on the average,
    and a swap stays within a tenth of what the cloud itself takes. So looks grow with the logarithm of a wait: ten for the first 2.5 s,
    25 more until 26 s, nine more until a minute. From the second wave on, what the first one saw spares most of these.
    Nobody waits longer than ``LONGEST`` to learn that an instance died.
    """
    return max(SHORTEST, min(LONGEST, max(SHARE * idle, (1 - SHARE) * due)))
