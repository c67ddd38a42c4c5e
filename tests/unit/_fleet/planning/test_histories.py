# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories that once broke a promise, reduced to their smallest form."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import TTL
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.tests.support.cases import NEW, Case, Fault, InitialInstance, InitialVolume
from ansible_collections.immutable.infra.tests.support.judge import (
    assert_gets_through,
    assert_quiet,
    assert_reached,
    judge,
    slots_serving,
)
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.support.trial import Trial, play

TWO = (InitialInstance(), InitialInstance(slot=1))
SUCCEEDING = {
    "a frozen run overwrote the record of its successor": Case(
        previous_size=2, instances=TWO, faults=(Fault("call", 2, "frozen", 100.0),)
    ),
    "traffic was switched in the first zone only": Case(
        strategy="blue_green", surge=4, zones=("a", "b"), instances=(*TWO, InitialInstance(slot=3))
    ),
    "duplicates were removed before an instance served their slot": Case(
        strategy="blue_green", instances=(InitialInstance(member=""), InitialInstance(member=""))
    ),
    "a switch one for one was refused below the floor": Case(
        strategy="blue_green",
        protected="ignore",
        instances=(InitialInstance(member="", mark="protected"), InitialInstance(slot=1)),
    ),
    "an old host without a slot was not kept warm, and left behind": Case(
        strategy="blue_green", keep_old=60.0, instances=(InitialInstance(slot=3),)
    ),
    "a host was put in service and removed in one pass": Case(
        strategy="blue_green", call_seconds=2.0, instances=(InitialInstance(slot=3, member=""), InitialInstance())
    ),
    "a hot recreate waited for more places than the surge gives": Case(
        strategy="recreate", hot=True, previous_size=2, instances=TWO
    ),
    "duplicates took the places under the ceiling": Case(
        strategy="recreate", data=True, instances=(InitialInstance(), InitialInstance(), InitialInstance())
    ),
    "an empty slot waited for its canary stage": Case(
        strategy="canary", stages=((1, 10.0, False),), instances=(InitialInstance(slot=2),)
    ),
    "hosts outside the stage failed its soak": Case(
        strategy="canary", stages=((1, 30.0, True),), instances=(InitialInstance(slot=4), InitialInstance(slot=4))
    ),
    "a stage waited for a slot of a later one": Case(
        strategy="canary",
        size=3,
        stages=((1, 0.0, True),),
        instances=(InitialInstance(never_healthy=True), InitialInstance(slot=1, image=NEW), InitialInstance(slot=1)),
    ),
}
SUCCEEDING["a drained host did not return to service before the switch"] = Case(
    strategy="blue_green",
    surge=2,
    instances=(InitialInstance(), InitialInstance(), InitialInstance(slot=1, member="drain")),
)
SUCCEEDING["a host without a slot was drained and registered in an endless loop"] = Case(
    strategy="blue_green", size=1, instances=TWO
)
SUCCEEDING["a stage that a host in standby blocked was taken for the end"] = Case(
    strategy="canary",
    size=4,
    stages=((3, 10.0, False),),
    instances=(InitialInstance(image=NEW, never_healthy=True, mark="standby"), InitialInstance(slot=2)),
)
SUCCEEDING["a canary whose first stage was full before it began waited for ever"] = Case(
    strategy="canary", stages=((1, 10.0, False),), instances=(InitialInstance(image=NEW), InitialInstance(slot=1))
)
SUCCEEDING["the auditor blamed a switch for a host that crashed at the same moment"] = Case(
    strategy="blue_green",
    size=1,
    previous_size=1,
    instances=(InitialInstance(),),
    faults=(Fault(number=2, kind="crashes", value=1.0),),
)
SUCCEEDING["a run did not wait as long as the lease of one that died while it made a volume larger"] = Case(
    size=1,
    data=True,
    deaths_are_known=False,
    volumes=(InitialVolume(size=512),),
    faults=(Fault(kind="killed after"),),
)
SUCCEEDING.update(
    {
        f"a spare instance took the place of an empty slot while the volume's holder had to serve, {strategy}": Case(
            strategy=strategy,
            data=True,
            stages=((1, 0.0, False),) if strategy == "canary" else (),
            protected="replace",
            standby="replace",
            instances=(InitialInstance(), InitialInstance(), InitialInstance(image=NEW)),
            volumes=(InitialVolume(),),
        )
        for strategy in ("rolling", "canary")
    }
)
COPIES = (
    InitialInstance(),
    InitialInstance(image=NEW),
    InitialInstance(slot=1),
    InitialInstance(slot=1, image=NEW),
)
SUCCEEDING.update(
    {
        f"successors waited for volumes of hosts that an empty slot kept in service, {strategy}, size {size}": Case(
            size=size,
            strategy=strategy,
            data=True,
            stages=((1, 0.0, False),) if strategy == "canary" else (),
            instances=COPIES,
            volumes=(InitialVolume(), InitialVolume(slot=1)),
        )
        for strategy in ("rolling", "canary")
        for size in (3, 4)
    }
)
SUCCEEDING["a host without its volumes waited for its canary stage, and the floor for its successor"] = Case(
    size=3,
    strategy="canary",
    data=True,
    stages=((1, 0.0, False), (2, 10.0, False)),
    instances=(InitialInstance(slot=1), InitialInstance(), InitialInstance(image=NEW)),
    volumes=(InitialVolume(),),
)
SUCCEEDING["several slots made room by the same removal"] = Case(
    size=4,
    surge=4,
    strategy="blue_green",
    instances=(*[InitialInstance()] * 7, InitialInstance(never_healthy=True)),
)
SUCCEEDING["spare instances of a zone that came later took the place of an empty slot"] = Case(
    size=3,
    strategy="recreate",
    data=True,
    zones=("a", "b"),
    instances=(InitialInstance(slot=1),) * 3,
    volumes=(InitialVolume(slot=1),),
)
IGNORED = (InitialInstance(), InitialInstance(image=NEW, never_healthy=True, mark="protected"))
SUCCEEDING.update(
    {
        f"each run waited for an unhealthy host that it leaves alone, {strategy}": Case(
            strategy=strategy,
            surge=2,
            protected="ignore",
            stages=((1, 10.0, False),) if strategy == "canary" else (),
            instances=(*IGNORED, InitialInstance(slot=1)),
        )
        for strategy in ("rolling", "canary", "blue_green", "recreate")
    }
)
ROLLED_BACK = {
    "a rollback waited for volumes that were never created": Case(
        image="unhealthy", data=True, previous_size=4, instances=(InitialInstance(),), volumes=(InitialVolume(slot=2),)
    ),
    "a revoked image was put in service during a rollback": Case(
        previous_size=2, faults=(Fault("wait", 0, "revoked"),)
    ),
    **{
        f"a revoked image that was found out of service was put in service during a rollback, {strategy} {size}": Case(
            strategy=strategy,
            size=size,
            protected="replace",
            standby="replace",
            stages=((1, 0.0, False),) if strategy == "canary" else (),
            deaths_are_known=False,
            instances=(InitialInstance(image=NEW, member=""),),
            faults=(Fault("wait", 0, "revoked"),),
        )
        for strategy, size in (("rolling", 1), ("canary", 2), ("blue_green", 1), ("blue_green", 2), ("recreate", 1))
    },
    "failed instances were removed before another served their slot": Case(
        image="mislabeled",
        previous_size=5,
        instances=(InitialInstance(slot=1, member="drain"), InitialInstance(slot=1, member="drain", mark="standby")),
    ),
    "a fleet that could not roll back lost its instances": Case(
        strategy="blue_green",
        image="unhealthy",
        previous_size=2,
        can_relaunch=False,
        instances=(InitialInstance(never_healthy=True),),
    ),
}


def test_the_token_of_a_removed_instance_is_given_up():
    """The provider refuses it in every later run too."""
    trial = Trial(Case(previous_size=2, instances=TWO, faults=(Fault("wait", 0, "removed", 1.0),)))
    ending = play(trial)
    assert ending.status == "done" and "shop-local-0-launch-new-1-1" in trial.world.machines


@pytest.mark.parametrize("case", SUCCEEDING.values(), ids=SUCCEEDING)
def test_the_swap_succeeds(case):
    trial = Trial(case)
    ending = play(trial)
    assert ending.status == "done", ending.error
    judge(trial, ending)
    assert_reached(trial, ending)
    assert_quiet(trial)


@pytest.mark.parametrize("case", ROLLED_BACK.values(), ids=ROLLED_BACK)
def test_the_swap_ends_and_keeps_its_promises(case):
    trial = Trial(case)
    ending = play(trial)
    assert ending.status == "stopped"
    judge(trial, ending)


def test_a_canary_that_was_stopped_after_its_stages_succeeds_when_it_runs_again():
    """What a rollback had to leave on the new image filled the first stage of the next swap, which never began."""
    case = Case(
        strategy="canary",
        data=True,
        stages=((1, 0.0, False), (1, 10.0, False)),
        previous_size=2,
        can_relaunch=False,
        forgets_drained=True,
        deaths_are_known=False,
        instances=TWO,
        volumes=(InitialVolume(), InitialVolume(slot=1)),
        faults=(Fault(number=8, kind="unhealthy", value=2.0),),
    )
    assert_gets_through(Trial(case))


def test_the_lease_of_a_run_that_died_after_a_long_call_expires_as_soon_as_any_other():
    """A run that had made a volume larger kept its lease for ten minutes, whatever it did in that time."""
    case = Case(
        strategy="canary",
        size=3,
        data=True,
        stages=((1, 0.0, True), (2, 10.0, False)),
        forgets_drained=True,
        deaths_are_known=False,
        instances=(InitialInstance(),) * 6,
        volumes=(InitialVolume(), InitialVolume(slot=1, size=512)),
        faults=(Fault("wait", 0, "killed"),),
    )
    trial = Trial(case)
    with pytest.raises(ControllerKilled):
        trial.run()
    assert "modify_volumes" in trial.world.calls
    assert trial.run(options=RunOptions(lock_timeout=3 * TTL))["approval"]


def test_what_a_swap_launched_is_never_too_old_for_it():
    """The clock was ahead of the provider's by more than ``max_age``, so each new instance was replaced."""
    jumps = (Fault("read", 0, "clock jump", 5000.0), Fault("read", 49, "clock jump", 5000.0))
    case = Case(
        size=1,
        data=True,
        max_age=5000.0,
        previous_size=1,
        clock_skew=2.0,
        instances=(InitialInstance(),),
        volumes=(InitialVolume(),),
        faults=jumps,
    )
    trial = Trial(case)
    ending = play(trial)
    assert ending.status == "stopped"  # by this clock, the new instance took more than an hour to seal itself
    assert sum("launched" in line for line in trial.lines) == 1
    judge(trial, ending)
    assert slots_serving(trial) == {0}


@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "recreate"])
def test_an_image_that_alternates_between_healthy_and_unhealthy_ends_the_swap(strategy):
    """Each recovery was once taken for progress."""
    case = Case(
        strategy=strategy,
        image="flapping",
        data=strategy != "blue_green",
        surge=2,
        previous_size=2,
        instances=TWO,
        volumes=(InitialVolume(), InitialVolume(slot=1)),
    )
    assert play(Trial(case)).status == "done"


@pytest.mark.parametrize("strategy", ["blue_green", "recreate"])
def test_a_swap_does_not_wait_for_a_host_in_standby(strategy):
    trial = Trial(
        Case(
            strategy=strategy,
            standby="ignore",
            instances=(InitialInstance(image=NEW, never_healthy=True, mark="standby"),),
        )
    )
    ending = play(trial)
    assert ending.status == "done"
    assert_quiet(trial)


def test_the_instance_that_serves_for_a_host_in_standby_stays():
    trial = Trial(
        Case(
            instances=(
                InitialInstance(),
                InitialInstance(slot=1),
                InitialInstance(slot=1, image=NEW, mark="standby", member=""),
            )
        )
    )
    play(trial)
    assert len(trial.auditor.serving()) == 2


def test_traffic_may_be_switched_to_a_host_that_died_after_the_last_look():
    case = Case(
        strategy="blue_green",
        surge=2,
        previous_size=1,
        balancing=False,
        reports_in_flight=False,
        deaths_are_known=False,
        instances=(InitialInstance(),),
        faults=(
            Fault(at="read", kind="throttled"),
            Fault(number=13, kind="removed", value=1.0),
            Fault(at="wait", number=9, kind="unhealthy", value=400.0),
            Fault(at="read", number=21, kind="crashes", value=2.0),
        ),
    )
    assert_gets_through(Trial(case))


def test_the_token_of_an_instance_that_died_unseen_may_be_refused():
    """The answer to its launch was lost, so the launch is repeated."""
    case = Case(
        size=1,
        image="dead at launch",
        previous_size=1,
        deaths_are_known=False,
        instances=(InitialInstance(),),
        faults=(Fault(kind="timeout after", value=45.0),),
    )
    trial = Trial(case)
    ending = play(trial)
    judge(trial, ending)
    assert "died at launch" in ending.result["reason"]
