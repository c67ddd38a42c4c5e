# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a swap must end: on the new image if it is good, on the old one if it is bad."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.immutable.infra.tests.support.draws import ERRORS, EVENTS, KILLS, STALE, cases, faults
from ansible_collections.immutable.infra.tests.support.judge import (
    assert_gets_through,
    assert_quiet,
    assert_reached,
    fleet_machines,
    judge,
)
from ansible_collections.immutable.infra.tests.support.trial import Trial, play
from hypothesis import given


def unblocked(case):
    """The case without marks and deadlines that block a swap."""
    return replace(case, protected="replace", standby="replace", deadline=0.0)


@given(cases(faults(ERRORS, KILLS, EVENTS, STALE)).map(unblocked))
def test_a_good_image_succeeds_in_the_end(case):
    assert_gets_through(Trial(case))


@given(cases(irregular=False).map(unblocked))
def test_a_good_image_is_never_stopped_without_faults(case):
    """Floor, ceiling and volumes must not block each other, whatever state the fleet was found in."""
    trial = Trial(case)
    ending = play(trial)
    assert ending.status == "done", ending.error
    judge(trial, ending)
    assert_reached(trial, ending)
    assert_quiet(trial)


@given(cases(faults(KILLS, ERRORS, most=2), ("unhealthy", "unbootable", "mislabeled", "dead at launch"), complete=True))
def test_a_bad_image_leaves_the_fleet_as_it_was(case):
    """Each slot runs the old image again, on the instance that ran it, and all of them serve."""
    trial = Trial(replace(case, max_age=0.0))
    ending = play(trial)
    judge(trial, ending)
    if ending.status == "stopped" and (case.can_relaunch or _old_instances_stay(case)):
        images = sorted((machine.instance.slot, machine.instance.image) for machine in fleet_machines(trial).values())
        assert images == [(slot, "sha256:old") for slot in range(case.previous_size)], ending.error
        assert len(trial.auditor.serving()) == case.previous_size, ending.error


def _old_instances_stay(case):
    return case.size >= case.previous_size and case.strategy != "reimage"
