# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bench's cases of small fleets: virtual time, calls and reads. None of them depends on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(
    not (ROOT / "bench").is_dir(), reason="the benchmarks are not part of the installed collection"
)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from bench import cases, swaps

    return cases, swaps


def test_swaps_of_ten_reach_their_goals(bench):
    cases, swaps = bench
    measured = [swaps.measure(case) for case in cases.cases((10,))]
    assert {one.case.intent.get("strategy", "rolling") for one in measured} == {
        "rolling",
        "canary",
        "blue_green",
        "recreate",
    }
    assert swaps.missed(measured) == []


def test_a_hot_fleet_boots_in_one_call(bench):
    cases, swaps = bench
    (case,) = [case for case in cases.cases((10,)) if case.name == "recreate, hot"]
    assert swaps.measure(case).swap.calls["launch"] == 1


def test_the_number_of_reads_does_not_depend_on_the_size(bench):
    cases, swaps = bench
    small, large = (next(case for case in cases.cases((size,)) if case.name == "rolling") for size in (10, 100))
    assert swaps.measure(small).swap.reads == swaps.measure(large).swap.reads


def test_a_missed_goal_is_reported(bench):
    cases, swaps = bench
    case = cases.Case("rolling", 10, cases.ALL_AT_ONCE, most_calls=3, intent={"surge": 1})
    time, calls = swaps.missed([swaps.measure(case)])[:2]
    assert "more than 1.1 times the bound of 97.0 s" in time
    assert "4 mutating calls per wave, more than 3" in calls
