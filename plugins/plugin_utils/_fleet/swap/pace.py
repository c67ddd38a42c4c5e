# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long to wait between two observations. Pure."""

from __future__ import annotations

from ..._providers.contract import Pace, Provider
from ..events import AWAITED, BACKGROUND


def every_second(_idle: float, _due: float = 0.0) -> float:
    """A pace for providers whose observations cost nothing but work on this machine."""
    return 1.0


def pace_for(provider: Provider) -> Pace:
    """The provider's own pace if its observations are expensive, else ``every_second``."""
    return provider.pace or every_second


class StepDurations:
    """The shortest duration of each step in this run. Other instances are not expected to take less."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}  # the last event of each instance by its id, and when
        self._shortest: dict[str, float] = {}  # by the event that begins the step

    def note(self, event: str, instance: str, at: float) -> None:
        before, began = self._last.get(instance, ("", at))
        if before in (*AWAITED, *BACKGROUND):
            self._shortest[before] = min(self._shortest.get(before, at - began), at - began)
        self._last[instance] = (event, at)

    def in_progress(self) -> set[str]:
        """The events that began the steps in progress."""
        return {event for event, _at in self._last.values()}

    def due(self, now: float) -> float:
        """Seconds until the first step in progress can be over; 0 if that is not known."""
        for events in (AWAITED, BACKGROUND):
            in_progress = [(event, at) for event, at in self._last.values() if event in events]
            if in_progress:
                return min(max(0.0, at + self._shortest.get(event, 0.0) - now) for event, at in in_progress)
        return 0.0

    def next_observation(self, pace: Pace, now: float, idle: float) -> float:
        """Seconds until the next observation.

        The step that is expected to end first decides. ``idle``: seconds since the last event, which decide if no
        step is in progress.
        """
        for events in (AWAITED, BACKGROUND):
            in_progress = [
                (now - at, max(0.0, at + self._shortest.get(event, 0.0) - now))
                for event, at in self._last.values()
                if event in events
            ]
            if in_progress:
                return min(pace(max(0.0, age), due) for age, due in in_progress)
        return pace(idle, 0.0)
