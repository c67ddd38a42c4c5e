# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened in a swap, as data and as lines: one entry per change of state."""

from __future__ import annotations

from typing import Any

from ..._core.progress import Report
from ..._core.units import iso
from ..._providers.contract import DRAIN
from ..model import Observed
from .pace import Steps

WAIT_LINE_EVERY = 15.0  # seconds between two lines about the same wait


class Timeline:
    def __init__(self, report: Report, began: float) -> None:
        self.entries: list[dict[str, Any]] = []
        self.lowest: int | None = None  # in service, over all that was seen
        self.peak = 0  # running
        self.downtime = 0.0  # seconds with nobody in service, between two times when somebody was
        self._down_since: float | None = None
        self._served = False
        self.steps = Steps()
        self._report = report
        self._began = began
        self._seen = Observed(began)
        self._counts = _counted(self._seen)
        self._known: set[tuple[str, str]] = set()  # what happened to whom
        self._waited: tuple[str, float] = ("", 0.0)

    def observe(self, observed: Observed) -> bool:
        """Note what an observation shows that the one before did not. True where something happened for the first time:

        one that is well and ill in turn gets nowhere.
        """
        before = {view.id: view for view in self._seen.instances}
        first = self.lowest is None
        self._seen = observed
        self._counts = _counted(observed)  # once for each look: a wave has as many events as instances
        self.lowest = observed.serving if self.lowest is None else min(self.lowest, observed.serving)
        self.peak = max(self.peak, observed.counted(True))
        self._note_downtime(observed)
        count = self.novelties
        present = {view.id for view in observed.instances}
        self._known |= {("seen", each) for each in present}
        for view in observed.instances if not first else ():
            old = before.get(view.id)
            if view.proven and not (old and old.proven):
                self.add("sealed", view.slot, view.id, observed.at)
            if view.serving and not (old and old.serving):
                self.add("in service", view.slot, view.id, observed.at)
            if old and old.healthy and not view.healthy and view.live:
                self.add(f"unhealthy: {view.problem}", view.slot, view.id, observed.at)
            if old and old.running and not view.running:
                self.add("stopped", view.slot, view.id, observed.at)
        for old in before.values() if not first else ():
            if old.id not in present:
                self.add("gone", old.slot, old.id, observed.at)
        return self.novelties > count

    @property
    def novelties(self) -> int:
        """How many different things happened so far."""
        return len(self._known)

    def _note_downtime(self, observed: Observed) -> None:
        if observed.serving:
            if self._served and self._down_since is not None:
                self.downtime += observed.at - self._down_since
            self._served, self._down_since = True, None
        elif self._down_since is None:
            self._down_since = observed.at

    def add(self, event: str, slot: int | None, instance: str | None, at: float) -> None:
        self._known.add((event.partition(":")[0], instance or ""))
        if instance:
            self.steps.note(event, instance, at)
        counts = self._counts
        seconds = round(at - self._began, 1)
        self.entries.append(
            {"at": iso(at), "seconds": seconds, "event": event, "slot": slot, "instance": instance, **counts}
        )
        where = "" if slot is None else f"slot {slot}: "
        who = f" ({instance})" if instance else ""
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        self._report(f"{seconds:7.1f} s  {where}{event}{who} [{told}]")

    def as_dict(self) -> dict[str, Any]:
        """For results and records."""
        return {
            "timeline": self.entries,
            "lowest_in_service": self.lowest,
            "peak": self.peak,
            "downtime": round(self.downtime, 1),
        }

    def waits(self, reason: str, at: float) -> None:
        """A line when the reason is a new one, and now and then while it lasts."""
        told, told_at = self._waited
        if at - told_at >= WAIT_LINE_EVERY or (_gist(reason) != _gist(told)):
            self._waited = (reason, at)
            self._report(f"{at - self._began:7.1f} s  waiting: {reason}")


def _counted(seen: Observed) -> dict[str, int]:
    return {
        "healthy": sum(view.healthy for view in seen.instances),
        "serving": seen.serving,
        "draining": sum(view.member == DRAIN for view in seen.instances),
    }


def _gist(reason: str) -> str:
    """Without the details that change from look to look."""
    return reason.partition(" (")[0].partition(", ")[0]
