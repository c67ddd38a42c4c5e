# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules around every strategy: marks, ages, hours, alarms, deadlines, revocation, playbooks, and the way back to what ran before."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric, Window
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.windows import is_open, opens_at
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.measured import measured
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, FLEET, V1, V2, Lab, request
from ansible_collections.immutable.infra.tests.unit._fleet.planning.test_strategies import Yes, back, swapped


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def mark(lab: Lab, slot: int, **tags: str) -> str:
    found = next(each for each, machine in lab.world.machines.items() if machine.instance.slot == slot)
    lab.provider.compute.tag([found], tags)
    return found


@pytest.mark.parametrize("mark_name", ["protected", "standby"])
def test_a_marked_instance_is_waited_for_ignored_or_replaced(mark_name):
    for policy, images, paused in (("wait", [V1], True), ("ignore", [V1], False), ("replace", [V2], False)):
        lab = swapped()
        marked = mark(lab, 1, **{mark_name: "under study"})
        result = lab.run(back(request(V2, **{mark_name: policy})))
        assert lab.images() == {0: [V2], 1: images, 2: [V2]}
        assert bool(result["paused"]) is paused and result["left_alone"] == ([1] if policy == "ignore" else [])
        if paused:
            assert "under study" in result["paused"] and marked in result["paused"]
            lab.provider.compute.tag([marked], {mark_name: None})
            assert lab.run(back(request(V2)))["paused"] is None
        lab.world.calls.clear()
        assert not lab.run(back(request(V2, **{mark_name: policy})))["changed"] and not lab.world.calls


def test_what_is_in_standby_does_not_keep_the_others_from_going_on():
    lab = swapped()
    resting = mark(lab, 2, standby="under study")
    lab.provider.traffic(FLEET).deregister([resting])
    lab.run(back(request(V2, standby="ignore")))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V1]} and resting not in lab.world.members


def test_a_tainted_host_is_replaced_though_its_image_is_right_and_comes_first():
    lab = swapped()
    tainted = mark(lab, 2, tainted="unsealed by ann")
    result = lab.run(back(request(V1)))
    assert result["changed"] and tainted not in lab.world.machines and len(lab.serving()) == 3
    mark(lab, 2, tainted="drifted")
    result = lab.run(back(request(V2)))
    assert next(each["slot"] for each in result["timeline"] if each["event"] == "launched") == 2


def test_a_host_that_is_too_old_is_replaced():
    lab = swapped()
    lab.world.clock.advance(3600.0)
    old = set(lab.world.machines)
    assert not lab.run(back(request(V1, max_age=7200.0)))["changed"]
    assert lab.run(back(request(V1, max_age=1800.0)))["changed"]
    assert not old & set(lab.world.machines) and len(lab.serving()) == 3


NIGHT = Window(22 * 60, 4 * 60, (0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    "now, is_it",
    [
        ("2026-11-23T21:59:59", False),  # a Monday
        ("2026-11-23T22:00:00", True),
        ("2026-11-24T03:59:59", True),
        ("2026-11-24T04:00:00", False),
        ("2026-11-28T03:00:00", True),  # Friday's night goes on into Saturday
        ("2026-11-28T23:00:00", False),
        ("2026-11-23T03:00:00", False),  # Sunday's would
    ],
)
def test_a_window_goes_over_midnight_and_belongs_to_the_day_it_begins(now, is_it):
    assert is_open([NIGHT], at(now)) is is_it


def test_a_window_opens_by_the_clock_on_the_wall_of_its_time_zone():
    berlin = Window(2 * 60 + 30, 5 * 60, timezone="Europe/Berlin")
    assert opens_at([berlin], at("2026-10-24T12:00:00")) == at(
        "2026-10-25T00:30:00"
    )  # still summer time when the clock shows 2:30 first
    assert opens_at([berlin], at("2026-10-25T12:00:00")) == at("2026-10-26T01:30:00")
    assert opens_at([NIGHT], at("2026-11-28T12:00:00")) == at("2026-11-30T22:00:00")


def test_outside_its_window_a_swap_waits_but_a_dead_host_is_replaced():
    lab = swapped()
    lab.world.clock.advance(at("2026-11-23T12:00:00") - lab.world.clock.now())
    dead = next(each for each, machine in lab.world.machines.items() if machine.instance.slot == 1)
    result = lab.run(back(request(V2, windows=(NIGHT,))))
    assert not result["changed"] and "opens at 2026-11-23 22:00 UTC" in result["paused"]
    lab.world.machines[dead].crashes_at = lab.world.clock.now()
    lab.run(back(request(V2, windows=(NIGHT,))))
    assert lab.images() == {0: [V1], 1: [V2], 2: [V1]}
    lab.world.clock.advance(at("2026-11-23T22:30:00") - lab.world.clock.now())
    assert lab.run(back(request(V2, windows=(NIGHT,))))["paused"] is None
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}


def all_old(lab: Lab, size: int = 3) -> bool:
    return lab.images() == {slot: [V1] for slot in range(size)} and len(lab.serving()) == size


def after(lab: Lab, event: str, then) -> None:
    """Do something once, when a line tells of ``event``."""
    due = [then]

    class Lines(list):
        def append(self, line: str) -> None:
            super().append(line)
            if event in line and due:
                due.pop()()

    lab.lines = Lines()


def test_an_alarm_in_the_middle_takes_back_what_was_swapped_already():
    lab = swapped()
    lab.gates = Yes()
    after(lab, "slot 0: gone", lambda: lab.gates.no.update(metric="errors are up"))
    with pytest.raises(FleetError, match="alarm: errors are up") as caught:
        lab.run(back(request(V2, alarm=Metric(command=("alarm",), every=1.0))))
    assert all_old(lab) and caught.value.details["lowest_in_service"] == 3


def test_after_its_deadline_a_swap_goes_back():
    lab = swapped()
    with pytest.raises(FleetError, match="did not end within its deadline of 60 s"):
        lab.run(back(request(V2, deadline=60.0)))
    assert all_old(lab)


def test_an_image_that_is_revoked_in_the_middle_is_taken_back_and_one_that_was_before_cannot_come_back():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.revoked.update({V2: "it leaks"}))
    with pytest.raises(FleetError, match="was revoked: it leaks"):
        lab.run(back(request(V2)))
    assert all_old(lab)
    lab.revoked = {V1: "so does this one"}
    with pytest.raises(FleetError, match="what ran before was revoked: so does this one"):
        lab.run(back(request(BROKEN)))
    assert len(lab.serving()) == 3


def test_the_size_comes_back_too():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.world.behaviors.update({V2: Behavior(gets_healthy=False)}))
    with pytest.raises(FleetError):
        lab.run(back(request(V2, size=5)))
    assert all_old(lab)


def test_where_the_old_version_cannot_be_launched_again_what_serves_stays_and_the_reason_says_so():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.world.behaviors.update({V2: Behavior(gets_healthy=False)}))
    with pytest.raises(FleetError, match="slot 0: its image is gone"):
        lab.run(request(V2, origin_problem="its image is gone"))
    assert lab.images()[1] == lab.images()[2] == [V1] and len(lab.serving()) >= 2


def test_a_version_that_failed_is_no_origin():
    lab = swapped()
    for _again in range(2):
        with pytest.raises(FleetError):
            lab.run(back(request(BROKEN)))
    assert Ledger(lab.store, FLEET).last().origin.image == V1
    assert all_old(lab)


@pytest.mark.parametrize("deaths, end", [(1, V2), (2, V1)])
def test_an_instance_that_dies_gets_one_more_chance_and_a_second_death_turns_back(deaths, end):
    lab = swapped()

    class Deadly(list):
        left = deaths

        def append(self, line: str) -> None:
            super().append(line)
            new = [
                machine
                for machine in lab.world.machines.values()
                if machine.instance.image == V2 and lab.world.state(machine) != "stopped"
            ]
            if self.left and "slot 0: sealed" in line and new:
                self.left -= 1
                new[0].crashes_at = lab.world.clock.now()

    lab.lines = Deadly()
    if end == V2:
        lab.run(back(request(V2)))
    else:
        with pytest.raises(FleetError, match="it is not running"):
            lab.run(back(request(V2)))
    assert lab.images() == {slot: [end] for slot in range(3)} and len(lab.serving()) == 3


def test_playbooks_before_and_after_run_once_a_swap():
    lab = swapped()
    lab.gates = Yes()
    asked = back(request(V2, before_swap="migrate.yml", after_swap="announce.yml"))
    lab.run(asked)
    lab.run(asked)
    assert lab.gates.asked == ["before_swap", "after_swap"]


def test_a_playbook_before_that_fails_changes_nothing_and_is_asked_again():
    lab = swapped()
    lab.gates = Yes(**{"migrate.yml": "table locked"})
    lab.world.calls.clear()
    asked = back(request(V2, before_swap="migrate.yml"))
    with pytest.raises(FleetError, match="before_swap: table locked"):
        lab.run(asked)
    assert not lab.world.calls
    lab.gates.no.clear()
    lab.run(asked)
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}


def test_a_playbook_after_that_fails_leaves_the_new_version_and_is_asked_again():
    lab = swapped()
    lab.gates = Yes(**{"announce.yml": "no route"})
    asked = back(request(V2, after_swap="announce.yml"))
    with pytest.raises(FleetError, match="after_swap: no route"):
        lab.run(asked)
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    lab.gates.no.clear()
    lab.world.calls.clear()
    lab.run(asked)
    assert lab.gates.asked.count("after_swap") == 2 and not lab.world.calls


def test_a_provider_that_fails_for_a_while_is_asked_again():
    lab = swapped()
    failures = iter([True, True, True, False])

    def fail(_call: str) -> None:
        if next(failures, False):
            raise ProviderError("come back later")

    lab.world.before = fail
    lab.run(back(request(V2)))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]} and any(
        "retrying: come back later" in line for line in lab.lines
    )


def test_a_provider_that_fails_for_good_is_told_in_its_own_words():
    lab = swapped()

    def fail(_call: str) -> None:
        raise ProviderError("your account is closed")

    lab.world.before = fail
    with pytest.raises(ProviderError, match="your account is closed") as caught:
        lab.run(back(request(V2)))
    assert len(caught.value.details["instances"]) == 3


def test_latencies_are_measured_from_what_swaps_told():
    lab = swapped(data=True)
    latencies = lab.world.latencies
    lab.run(back(request(V2, data=True)))
    found = measured(Ledger(lab.store, FLEET).records(1))
    assert found == pytest.approx(
        {name: getattr(latencies, name) for name in ("boot", "health", "check", "drain", "stop")}, abs=0.2
    )
