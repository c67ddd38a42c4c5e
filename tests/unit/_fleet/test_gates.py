# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When metrics are read, and when a failed reading counts."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import CONFIRM, MetricWatcher, OpenGates

METRIC = Metric(command=("./alarm.sh",), every=15.0)


class ScriptedGates(OpenGates):
    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        self.read_metrics: list[Metric] = []

    def read(self, metric: Metric) -> str:
        self.read_metrics.append(metric)
        return self.problems.pop(0)


def test_a_metric_is_read_at_once_and_then_at_its_interval() -> None:
    gates = ScriptedGates("", "")
    watcher = MetricWatcher(gates)
    assert [watcher.check(METRIC, now) for now in (100.0, 101.0, 114.9)] == [""] * 3
    assert len(gates.read_metrics) == 1 and watcher.next_at(METRIC, 101.0) == 115.0 and not watcher.due(METRIC, 114.9)
    assert watcher.due(METRIC, 115.0) and watcher.check(METRIC, 115.0) == ""
    assert len(gates.read_metrics) == 2


def test_each_metric_has_its_own_interval() -> None:
    gates = ScriptedGates("", "")
    watcher = MetricWatcher(gates)
    other = Metric(url="http://m", most=1.0)
    watcher.check(METRIC, 100.0)
    watcher.check(other, 100.0)
    assert gates.read_metrics == [METRIC, other]


def test_a_failed_reading_is_repeated_soon_and_then_counts() -> None:
    watcher = MetricWatcher(ScriptedGates("too many", "still too many", "and more", ""))
    assert watcher.check(METRIC, 100.0) == ""
    assert watcher.check(METRIC, 100.0 + CONFIRM - 0.1) == ""
    assert watcher.check(METRIC, 100.0 + CONFIRM) == "still too many"
    assert watcher.check(METRIC, 101.0 + CONFIRM) == "still too many"
    assert watcher.check(METRIC, 120.0) == "and more"
    assert watcher.check(METRIC, 135.0) == ""


def test_a_single_failed_reading_does_not_count() -> None:
    watcher = MetricWatcher(ScriptedGates("too many", "", "too many", "too many"))
    assert [watcher.check(METRIC, now) for now in (100.0, 105.0, 119.0, 120.0, 125.0)] == ["", "", "", "", "too many"]


def test_a_failure_does_not_delay_a_metric_with_a_short_interval() -> None:
    often = Metric(command=("./alarm.sh",), every=1.0)
    watcher = MetricWatcher(ScriptedGates("too many", "too many"))
    assert [watcher.check(often, now) for now in (100.0, 101.0)] == ["", "too many"]


def test_a_clock_that_is_set_back_does_not_delay_readings() -> None:
    watcher = MetricWatcher(ScriptedGates("", ""))
    watcher.check(METRIC, 1000.0)
    assert watcher.due(METRIC, 10.0)
    watcher.check(METRIC, 10.0)
    assert watcher.next_at(METRIC, 10.0) == 25.0
