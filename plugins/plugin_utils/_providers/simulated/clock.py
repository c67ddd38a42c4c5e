# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A clock that jumps: time passes only where somebody waits or a call takes time."""

from __future__ import annotations

from collections.abc import Callable

NEVER = float("inf")


def event_driven_pace(_idle: float, _due: float = 0.0) -> float:
    """The pace of looks: the clock knows of every event and stops there, so looks between them would see nothing new."""
    return 60.0


class VirtualClock:
    """``next_event`` and ``moved`` belong to the world that lives by it.

    ``grain``: seconds that a wait takes at least, if it may, so that events close to each other are seen in one look.
    """

    def __init__(self, start: float = 1_000_000.0, grain: float = 0.0) -> None:
        self._now = start
        self.grain = grain
        self.next_event: Callable[[float], float] = lambda _now: NEVER  # the first event after that time, or NEVER
        self.moved: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float) -> None:
        """Jump to the next event within ``seconds``, or to their end."""
        self._jump(min(max(self.next_event(self._now), self._now + self.grain), self._now + max(0.0, seconds)))

    def pass_by(self, seconds: float) -> None:
        """Let time pass without a look at what happens in it."""
        self._jump(self._now + max(0.0, seconds))

    def seen_by(self, skew: float) -> SkewedClock:
        return SkewedClock(self, skew)

    def _jump(self, to: float) -> None:
        self._now = to
        self.moved()


class SkewedClock:
    """The same time as read by a controller whose own clock is ``skew`` seconds ahead (behind, where negative). Set ``skew`` to let it jump."""

    def __init__(self, clock: VirtualClock, skew: float) -> None:
        self._clock = clock
        self.skew = skew

    def now(self) -> float:
        return self._clock.now() + self.skew

    def wait(self, seconds: float) -> None:
        self._clock.wait(seconds)
