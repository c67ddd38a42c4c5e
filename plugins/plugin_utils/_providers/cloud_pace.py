# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often to observe a cloud whose calls are counted and throttled. Pure."""

from __future__ import annotations

SHORTEST_WAIT, LONGEST_WAIT = 0.25, 15.0  # seconds
SHARE = 0.1


def cloud_pace(waited: float, due: float = 0.0) -> float:
    """Seconds until the next observation, see ``contract.Pace``.

    The longer something takes, the longer the intervals. An observation is late by at most a tenth of the time waited,
    by a twentieth on average, so a swap takes at most a tenth longer than the cloud itself. The number of observations
    grows with the logarithm of the wait: ten for the first 2.5 s, 25 more until 26 s, nine more until a minute. From
    the second wave on, the known duration of a step saves most of these. No more than ``LONGEST_WAIT`` passes until
    the death of an instance is noticed.
    """
    return max(SHORTEST_WAIT, min(LONGEST_WAIT, max(SHARE * waited, (1 - SHARE) * due)))
