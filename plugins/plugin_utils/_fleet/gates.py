# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a swap asks from outside the fleet, and when a metric is due to be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._definition.model import Metric
from .._providers.contract import Instance
from .actions import Gate
from .model import Intent
from .ports import Gates

CONFIRM = 5.0  # seconds at most until a reading that failed is repeated


class OpenGates:
    """Lets everything pass: for predictions."""

    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None:
        """Nothing is run."""

    def read(self, metric: Metric) -> str:  # noqa: ARG002  whatever it is
        return ""


@dataclass(frozen=True)
class _Look:
    at: float
    problem: str = ""
    counts: bool = False  # it failed twice in a row


class MetricWatcher:
    """Reads metrics again and again while a swap goes on. A reading that fails is repeated once, soon, before it counts."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._looks: dict[Metric, _Look] = {}

    def next_at(self, metric: Metric, now: float) -> float:
        """When it is due to be read, by the clock that told ``now``. ``now`` or earlier: at once."""
        last = self._looks.get(metric)
        if last is None or now < last.at:  # a clock that was set back would hold the watch up
            return now
        doubtful = last.problem and not last.counts
        return last.at + (min(metric.every, CONFIRM) if doubtful else metric.every)

    def due(self, metric: Metric, now: float) -> bool:
        return now >= self.next_at(metric, now)

    def look(self, metric: Metric, now: float) -> str:
        """Read it if it is due. "" unless it failed the last two times, else why it failed."""
        last = self._looks.get(metric)
        if last is None or self.due(metric, now):
            problem = self._gates.read(metric)
            last = self._looks[metric] = _Look(now, problem, counts=bool(problem and last and last.problem))
        return last.problem if last.counts else ""
