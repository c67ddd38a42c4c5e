# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a metric is read again, and when a reading that failed counts."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import CONFIRM, MetricWatcher, OpenGates

METRIC = Metric(command=("./alarm.sh",), every=15.0)


class Told(OpenGates):
    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        self.asked: list[Metric] = []

    def read(self, metric: Metric) -> str:
        self.asked.append(metric)
        return self.problems.pop(0)


def test_it_is_read_at_once_and_then_in_its_own_time() -> None:
    gates = Told("", "")
    watch = MetricWatcher(gates)
    assert [watch.check(METRIC, now) for now in (100.0, 101.0, 114.9)] == [""] * 3
    assert len(gates.asked) == 1 and watch.next_at(METRIC, 101.0) == 115.0 and not watch.due(METRIC, 114.9)
    assert watch.due(METRIC, 115.0) and watch.check(METRIC, 115.0) == ""
    assert len(gates.asked) == 2


def test_each_metric_has_its_own_time() -> None:
    gates = Told("", "")
    watch = MetricWatcher(gates)
    other = Metric(url="http://m", most=1.0)
    watch.check(METRIC, 100.0)
    watch.check(other, 100.0)
    assert gates.asked == [METRIC, other]


def test_a_reading_that_fails_is_repeated_soon_and_then_counts() -> None:
    watch = MetricWatcher(Told("too many", "still too many", "and more", ""))
    assert watch.check(METRIC, 100.0) == ""
    assert watch.check(METRIC, 100.0 + CONFIRM - 0.1) == ""
    assert watch.check(METRIC, 100.0 + CONFIRM) == "still too many"
    assert watch.check(METRIC, 101.0 + CONFIRM) == "still too many"
    assert watch.check(METRIC, 120.0) == "and more"
    assert watch.check(METRIC, 135.0) == ""


def test_one_failure_that_does_not_come_again_is_nothing() -> None:
    watch = MetricWatcher(Told("too many", "", "too many", "too many"))
    assert [watch.check(METRIC, now) for now in (100.0, 105.0, 119.0, 120.0, 125.0)] == ["", "", "", "", "too many"]


def test_one_that_is_read_often_is_not_read_later_for_a_failure() -> None:
    often = Metric(command=("./alarm.sh",), every=1.0)
    watch = MetricWatcher(Told("too many", "too many"))
    assert [watch.check(often, now) for now in (100.0, 101.0)] == ["", "too many"]


def test_a_clock_that_is_set_back_does_not_blind_it() -> None:
    watch = MetricWatcher(Told("", ""))
    watch.check(METRIC, 1000.0)
    assert watch.due(METRIC, 10.0)
    watch.check(METRIC, 10.0)
    assert watch.next_at(METRIC, 10.0) == 25.0
