# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long to wait between two looks. Pure."""

from __future__ import annotations

from ..._providers.contract import Pace, Provider

AWAITED = ("launched", "started again", "sealed", "staged", "registered", "draining")  # events that a slot waits after
BESIDE = ("told to stop", "removed")  # likewise, but mostly beside what goes on


def every_second(_idle: float, _due: float = 0.0) -> float:
    """Where a look costs nothing but work of this machine."""
    return 1.0


def pace_for(provider: Provider) -> Pace:
    """The provider's own pace where looks cost something, as calls of a cloud do."""
    return provider.pace or every_second


class Steps:
    """How long each step of an instance took at least in this run: nothing is to be seen of the next one earlier than that."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}  # by instance id: what happened to it last, and when
        self._took: dict[str, float] = {}  # by the event that a step began with

    def note(self, event: str, instance: str, at: float) -> None:
        before, began = self._last.get(instance, ("", at))
        if before in (*AWAITED, *BESIDE):
            self._took[before] = min(self._took.get(before, at - began), at - began)
        self._last[instance] = (event, at)

    def next_look(self, pace: Pace, now: float, idle: float) -> float:
        """Seconds, as the step wants it that is looked for first; as ``idle`` says where no step is under way."""
        for events in (AWAITED, BESIDE):
            under_way = [
                (now - at, max(0.0, at + self._took.get(event, 0.0) - now))
                for event, at in self._last.values()
                if event in events
            ]
            if under_way:
                return min(pace(max(0.0, age), due) for age, due in under_way)
        return pace(idle, 0.0)
