# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The promises, on arbitrary fleets and all strategies, with faults at every call, read, write and wait.

See docs/explanation/testing.md.
"""

from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.draws import (
    ERRORS,
    EVENTS,
    JUMPS,
    KILLS,
    RIVALS,
    STALE,
    VERDICTS,
    cases,
    faults,
)
from ansible_collections.immutable.infra.tests.support.judge import assert_quiet, judge, was_disturbed
from ansible_collections.immutable.infra.tests.support.trial import Trial, play
from hypothesis import given

EVERY_IMAGE = (
    "good",
    "good",
    "unhealthy",
    "unbootable",
    "mislabeled",
    "flapping",
    "short-lived",
    "unstoppable",
    "dead at launch",
)


def check(case):
    trial = Trial(case)
    ending = play(trial)
    judge(trial, ending)
    if ending.status == "done" and not was_disturbed(trial):
        assert_quiet(trial)


@given(cases(faults(ERRORS), EVERY_IMAGE))
def test_errors(case):
    check(case)


@given(cases(faults(KILLS), EVERY_IMAGE))
def test_kills(case):
    check(case)


@given(cases(faults(ERRORS, KILLS, EVENTS, most=6), EVERY_IMAGE))
def test_all_at_once(case):
    check(case)


@given(cases(faults(STALE, ERRORS, most=5), EVERY_IMAGE))
def test_stale_reads(case):
    check(case)


@given(cases(faults(RIVALS, KILLS, most=3), EVERY_IMAGE))
def test_two_controllers(case):
    check(case)


@given(cases(JUMPS, EVERY_IMAGE))
def test_clocks_that_jump(case):
    check(case)


@given(cases(VERDICTS, EVERY_IMAGE))
def test_alarms_and_revocations(case):
    check(case)


@given(cases(faults(ERRORS, KILLS, EVENTS), strategies=("absent",)))
def test_a_fleet_that_becomes_absent(case):
    check(case)
