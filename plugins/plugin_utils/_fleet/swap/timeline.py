# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened in a swap, as data and as lines: one entry per change of state."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..._core.progress import Report, WithBar
from ..._core.units import iso
from ..._providers.contract import DRAIN
from ..events import InstanceEvent
from ..observed import InstanceView, Observed
from .pace import StepDurations
from .slot_bar import LEGEND

MAX_ENTRIES = 10_000  # at each end of a timeline: hosts that alternate between two states could fill the store
WAIT_LINE_EVERY = 15.0  # seconds between two lines about the same wait


class Timeline:
    def __init__(self, report: Report, began: float) -> None:
        self._first: list[dict[str, Any]] = []
        self._last: deque[dict[str, Any]] = deque(maxlen=MAX_ENTRIES)
        self._left_out = 0  # entries between the first and the last ones
        self.lowest: int | None = None  # instances in service, over all observations
        self.peak = 0  # running instances
        self.downtime = 0.0  # seconds without an instance in service, between two times with one
        self.gauge = ""  # of the slots, as they were last observed, for terminals
        self.renewed = ""  # how many of the slots the new version serves, in words
        self.durations = StepDurations()
        self._down_since: float | None = None
        self._served = False
        self._report = report
        self._began = began
        self._observed = Observed(began)
        self._counts = _count(self._observed)
        self._known: set[tuple[str, str]] = set()  # (event, instance id)
        self._reported_wait: tuple[str, float] = ("", 0.0)  # the last line about a wait, and when

    def observe(self, observed: Observed) -> bool:
        """Note what changed since the last observation. Returns whether something happened for the first time.

        A host that alternates between healthy and unhealthy makes no progress, so repeated events do not count.
        """
        before = {view.id: view for view in self._observed.instances}
        first = self.lowest is None
        self._observed = observed
        self._counts = _count(observed)  # once per observation, because a wave has as many events as instances
        self.lowest = observed.serving if self.lowest is None else min(self.lowest, observed.serving)
        self.peak = max(self.peak, observed.counted(True))
        self._note_downtime(observed)
        known = self.novelties
        present = {view.id for view in observed.instances}
        self._known |= {("seen", instance_id) for instance_id in present}
        if first:  # an earlier run reported these
            self._known |= {("died at launch", death.id) for death in observed.deaths}
        if not first:
            for view in observed.instances:
                self._note_changes(before.get(view.id), view, observed.at)
            for death in observed.deaths:
                if ("died at launch", death.id) not in self._known:
                    self.add(f"died at launch: {death.reason}", death.slot, death.id, observed.at)
            for old in before.values():
                if old.id not in present:
                    self._add(old, "gone", observed.at)
        return self.novelties > known

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The events in order. A swap of days has its first and its last ``MAX_ENTRIES`` events."""
        return [*self._first, *self._last]

    def _append(self, entry: dict[str, Any]) -> None:
        if len(self._first) < MAX_ENTRIES:
            self._first.append(entry)
            return
        self._left_out += len(self._last) == MAX_ENTRIES  # the new entry replaces the first of these
        self._last.append(entry)

    @property
    def novelties(self) -> int:
        """How many different things happened so far."""
        return len(self._known)

    def _note_changes(self, old: InstanceView | None, view: InstanceView, at: float) -> None:
        if view.proven and not (old and old.proven):
            self._add(view, "sealed", at)
        if view.serving and not (old and old.serving):
            self._add(view, "in service", at)
        if old and old.healthy and not view.healthy and view.live:
            self.add(f"unhealthy: {view.problem}", view.slot, view.id, at)
        if old and old.running and not view.running:
            self._add(view, "stopped", at)

    def _note_downtime(self, observed: Observed) -> None:
        if observed.serving:
            if self._served and self._down_since is not None:
                self.downtime += observed.at - self._down_since
            self._served, self._down_since = True, None
        elif self._down_since is None:
            self._down_since = observed.at

    def _add(self, view: InstanceView, event: InstanceEvent, at: float) -> None:
        self.add(event, view.slot, view.id, at)

    def add(self, event: str, slot: int | None, instance: str | None, at: float) -> None:
        """Note an event of an instance, of a slot, or of the swap."""
        self._known.add((event.partition(":")[0], instance or ""))
        if instance:
            self.durations.note(event, instance, at)
        counts = self._counts
        seconds = round(at - self._began, 1)
        self._append({"at": iso(at), "seconds": seconds, "event": event, "slot": slot, "instance": instance, **counts})
        prefix = "" if slot is None else f"slot {slot}: "
        suffix = f" ({instance})" if instance and instance not in event else ""
        summary = ", ".join([*filter(None, [self.renewed]), *(f"{name} {count}" for name, count in counts.items())])
        self._show(f"{seconds:7.1f} s  {prefix}{event}{suffix} [{summary}]")

    def as_dict(self) -> dict[str, Any]:
        """For results and records."""
        left_out = {"timeline_left_out": self._left_out} if self._left_out else {}
        return {
            "timeline": self.entries,
            **left_out,
            "lowest_in_service": self.lowest,
            "peak": self.peak,
            "downtime": round(self.downtime, 1),
        }

    def waits(self, reason: str, at: float) -> None:
        """Report a line if the reason is a new one, and at intervals while it lasts."""
        reported, reported_at = self._reported_wait
        if at - reported_at >= WAIT_LINE_EVERY or _without_details(reason) != _without_details(reported):
            self._reported_wait = (reason, at)
            self._show(f"{at - self._began:7.1f} s  waiting: {reason}")

    def _show(self, line: str) -> None:
        self._report(WithBar(line, self.gauge, LEGEND) if self.gauge else line)


def _count(observed: Observed) -> dict[str, int]:
    return {
        "healthy": sum(view.healthy for view in observed.instances),
        "serving": observed.serving,
        "draining": sum(view.member == DRAIN for view in observed.instances),
    }


def _without_details(reason: str) -> str:
    """The reason without the parts that change with each observation."""
    return reason.partition(" (")[0].partition(", ")[0]
