# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A clock that jumps: time passes only while something waits or a call takes time."""

from __future__ import annotations

from collections.abc import Callable

NEVER = float("inf")


def event_driven_pace(_waited: float, _due: float = 0.0) -> float:
    """The pace of observations under a virtual clock: it stops at every event, so nothing changes in between."""
    return 60.0


class VirtualClock:
    """A clock that stops at the events of a world, which sets ``next_event`` and ``on_advance``.

    Args:
        start: seconds since the epoch.
        min_wait: seconds that a wait takes at least, so that one observation sees events close to each other.
    """

    def __init__(self, start: float = 1_000_000.0, min_wait: float = 0.0) -> None:
        self._now = start
        self.min_wait = min_wait
        self.next_event: Callable[[float], float] = lambda _now: NEVER  # the first event after that time, or NEVER
        self.on_advance: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float) -> None:
        """Jump to the next event within ``seconds``, or to their end."""
        self._jump(min(max(self.next_event(self._now), self._now + self.min_wait), self._now + max(0.0, seconds)))

    def advance(self, seconds: float) -> None:
        """Let time pass without stopping at events."""
        self._jump(self._now + max(0.0, seconds))

    def skewed(self, skew: float) -> SkewedClock:
        """The same clock as a controller reads it whose own clock is ``skew`` seconds ahead."""
        return SkewedClock(self, skew)

    def _jump(self, to: float) -> None:
        self._now = to
        self.on_advance()


class SkewedClock:
    """The time of ``clock``, ``skew`` seconds ahead (behind if negative). Set ``skew`` to let it jump."""

    def __init__(self, clock: VirtualClock, skew: float) -> None:
        self._clock = clock
        self.skew = skew

    def now(self) -> float:
        return self._clock.now() + self.skew

    def wait(self, seconds: float) -> None:
        self._clock.wait(seconds)
