# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gates that always pass, and the schedule by which metrics are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._definition.model import Metric
from .._providers.contract import Instance
from .actions import Gate
from .model import Intent
from .ports import Gates

CONFIRM = 5.0  # seconds at most until a failed reading is repeated


class OpenGates:
    """Gates that always pass: for predictions."""

    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None:
        """Run nothing."""

    def read(self, metric: Metric) -> str:  # noqa: ARG002  every metric is in bounds
        return ""


@dataclass(frozen=True)
class _Reading:
    at: float
    problem: str = ""
    confirmed: bool = False  # the reading before failed too


class MetricWatcher:
    """Reads metrics at intervals while a swap runs.

    A failed reading counts once a second reading, soon after it, fails too.
    """

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._readings: dict[Metric, _Reading] = {}

    def next_at(self, metric: Metric, now: float) -> float:
        """When the next reading is due, by the same clock as ``now``. ``now`` or earlier means at once."""
        last = self._readings.get(metric)
        if last is None or now < last.at:  # a clock that was set back must not delay the reading
            return now
        doubtful = last.problem and not last.confirmed
        return last.at + (min(metric.every, CONFIRM) if doubtful else metric.every)

    def due(self, metric: Metric, now: float) -> bool:
        return now >= self.next_at(metric, now)

    def check(self, metric: Metric, now: float) -> str:
        """Read the metric if a reading is due. Returns "" unless the last two readings failed, else the reason."""
        last = self._readings.get(metric)
        if last is None or self.due(metric, now):
            problem = self._gates.read(metric)
            confirmed = bool(problem and last and last.problem)
            last = self._readings[metric] = _Reading(now, problem, confirmed)
        return last.problem if last.confirmed else ""
