# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of all strategies: marks, ages, windows, alarms, deadlines, revocation, playbooks, rollbacks."""

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
from ansible_collections.immutable.infra.tests.unit._fleet.planning.test_strategies import (
    RecordingGates,
    swapped,
    with_origin,
)


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
        result = lab.run(with_origin(request(V2, **{mark_name: policy})))
        assert lab.images() == {0: [V2], 1: images, 2: [V2]}
        assert bool(result["paused"]) is paused and result["left_alone"] == ([1] if policy == "ignore" else [])
        if paused:
            assert "under study" in result["paused"] and marked in result["paused"]
            lab.provider.compute.tag([marked], {mark_name: None})
            assert lab.run(with_origin(request(V2)))["paused"] is None
        lab.world.calls.clear()
        assert not lab.run(with_origin(request(V2, **{mark_name: policy})))["changed"] and not lab.world.calls


def test_a_host_in_standby_does_not_block_other_slots():
    lab = swapped()
    in_standby = mark(lab, 2, standby="under study")
    lab.provider.traffic(FLEET).deregister([in_standby])
    lab.run(with_origin(request(V2, standby="ignore")))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V1]} and in_standby not in lab.world.members


def test_a_tainted_host_is_replaced_first_although_its_image_is_current():
    lab = swapped()
    tainted = mark(lab, 2, tainted="unsealed by ann")
    result = lab.run(with_origin(request(V1)))
    assert result["changed"] and tainted not in lab.world.machines and len(lab.serving()) == 3
    mark(lab, 2, tainted="drifted")
    result = lab.run(with_origin(request(V2)))
    assert next(each["slot"] for each in result["timeline"] if each["event"] == "launched") == 2


def test_a_host_that_is_too_old_is_replaced():
    lab = swapped()
    lab.world.clock.advance(3600.0)
    old = set(lab.world.machines)
    assert not lab.run(with_origin(request(V1, max_age=7200.0)))["changed"]
    assert lab.run(with_origin(request(V1, max_age=1800.0)))["changed"]
    assert not old & set(lab.world.machines) and len(lab.serving()) == 3


NIGHT = Window(22 * 60, 4 * 60, (0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    "now, expected",
    [
        ("2026-11-23T21:59:59", False),  # a Monday
        ("2026-11-23T22:00:00", True),
        ("2026-11-24T03:59:59", True),
        ("2026-11-24T04:00:00", False),
        ("2026-11-28T03:00:00", True),  # Friday's window lasts into Saturday
        ("2026-11-28T23:00:00", False),
        ("2026-11-23T03:00:00", False),  # Sunday has no window
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_begins(now, expected):
    assert is_open([NIGHT], at(now)) is expected


def test_a_window_opens_by_the_wall_clock_of_its_time_zone():
    berlin = Window(2 * 60 + 30, 5 * 60, timezone="Europe/Berlin")
    # The first 2:30 of that night is still in daylight saving time.
    assert opens_at([berlin], at("2026-10-24T12:00:00")) == at("2026-10-25T00:30:00")
    assert opens_at([berlin], at("2026-10-25T12:00:00")) == at("2026-10-26T01:30:00")
    assert opens_at([NIGHT], at("2026-11-28T12:00:00")) == at("2026-11-30T22:00:00")


def test_outside_its_window_a_swap_waits_but_a_dead_host_is_replaced():
    lab = swapped()
    lab.world.clock.advance(at("2026-11-23T12:00:00") - lab.world.clock.now())
    dead = next(each for each, machine in lab.world.machines.items() if machine.instance.slot == 1)
    result = lab.run(with_origin(request(V2, windows=(NIGHT,))))
    assert not result["changed"] and "opens at 2026-11-23 22:00 UTC" in result["paused"]
    lab.world.machines[dead].crashes_at = lab.world.clock.now()
    lab.run(with_origin(request(V2, windows=(NIGHT,))))
    assert lab.images() == {0: [V1], 1: [V2], 2: [V1]}
    lab.world.clock.advance(at("2026-11-23T22:30:00") - lab.world.clock.now())
    assert lab.run(with_origin(request(V2, windows=(NIGHT,))))["paused"] is None
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}


def all_old(lab: Lab, size: int = 3) -> bool:
    return lab.images() == {slot: [V1] for slot in range(size)} and len(lab.serving()) == size


def after(lab: Lab, event: str, then) -> None:
    """Call ``then`` once, when a line reports ``event``."""
    pending = [then]

    class Lines(list):
        def append(self, line: str) -> None:
            super().append(line)
            if event in line and pending:
                pending.pop()()

    lab.lines = Lines()


def test_an_alarm_during_a_swap_rolls_back_swapped_slots():
    lab = swapped()
    lab.gates = RecordingGates()
    after(lab, "slot 0: gone", lambda: lab.gates.failures.update(metric="errors are up"))
    with pytest.raises(FleetError, match="alarm: errors are up") as caught:
        lab.run(with_origin(request(V2, alarm=Metric(command=("alarm",), every=1.0))))
    assert all_old(lab) and caught.value.details["lowest_in_service"] == 3


def test_a_swap_rolls_back_after_its_deadline():
    lab = swapped()
    with pytest.raises(FleetError, match="did not end within its deadline of 60 s"):
        lab.run(with_origin(request(V2, deadline=60.0)))
    assert all_old(lab)


def test_revoking_the_new_image_rolls_back_and_a_revoked_origin_is_not_restored():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.revoked.update({V2: "it leaks"}))
    with pytest.raises(FleetError, match="was revoked: it leaks"):
        lab.run(with_origin(request(V2)))
    assert all_old(lab)
    lab.revoked = {V1: "it leaks too"}
    with pytest.raises(FleetError, match="what ran before was revoked: it leaks too"):
        lab.run(with_origin(request(BROKEN)))
    assert len(lab.serving()) == 3


def test_a_rollback_restores_the_size():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.world.behaviors.update({V2: Behavior(gets_healthy=False)}))
    with pytest.raises(FleetError):
        lab.run(with_origin(request(V2, size=5)))
    assert all_old(lab)


def test_if_the_origin_cannot_be_launched_serving_instances_stay_and_the_reason_says_so():
    lab = swapped()
    after(lab, "slot 0: gone", lambda: lab.world.behaviors.update({V2: Behavior(gets_healthy=False)}))
    with pytest.raises(FleetError, match="slot 0: its image is gone"):
        lab.run(request(V2, origin_problem="its image is gone"))
    assert lab.images()[1] == lab.images()[2] == [V1] and len(lab.serving()) >= 2


def test_a_failed_version_is_never_an_origin():
    lab = swapped()
    for _again in range(2):
        with pytest.raises(FleetError):
            lab.run(with_origin(request(BROKEN)))
    assert Ledger(lab.store, FLEET).last().origin.image == V1
    assert all_old(lab)


@pytest.mark.parametrize("deaths, end", [(1, V2), (2, V1)])
def test_a_dead_instance_is_launched_once_more_and_a_second_death_rolls_back(deaths, end):
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
        lab.run(with_origin(request(V2)))
    else:
        with pytest.raises(FleetError, match="it is not running"):
            lab.run(with_origin(request(V2)))
    assert lab.images() == {slot: [end] for slot in range(3)} and len(lab.serving()) == 3


def test_playbooks_before_and_after_run_once_per_swap():
    lab = swapped()
    lab.gates = RecordingGates()
    wanted = with_origin(request(V2, before_swap="migrate.yml", after_swap="announce.yml"))
    lab.run(wanted)
    lab.run(wanted)
    assert lab.gates.calls == ["before_swap", "after_swap"]


def test_a_failed_playbook_before_the_swap_changes_nothing_and_runs_again():
    lab = swapped()
    lab.gates = RecordingGates(**{"migrate.yml": "table locked"})
    lab.world.calls.clear()
    wanted = with_origin(request(V2, before_swap="migrate.yml"))
    with pytest.raises(FleetError, match="before_swap: table locked"):
        lab.run(wanted)
    assert not lab.world.calls
    lab.gates.failures.clear()
    lab.run(wanted)
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}


def test_a_failed_playbook_after_the_swap_keeps_the_new_version_and_runs_again():
    lab = swapped()
    lab.gates = RecordingGates(**{"announce.yml": "no route"})
    wanted = with_origin(request(V2, after_swap="announce.yml"))
    with pytest.raises(FleetError, match="after_swap: no route"):
        lab.run(wanted)
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    lab.gates.failures.clear()
    lab.world.calls.clear()
    lab.run(wanted)
    assert lab.gates.calls.count("after_swap") == 2 and not lab.world.calls


def test_transient_provider_errors_are_retried():
    lab = swapped()
    failures = iter([True, True, True, False])

    def fail(_call: str) -> None:
        if next(failures, False):
            raise ProviderError("come back later")

    lab.world.before = fail
    lab.run(with_origin(request(V2)))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]} and any(
        "retrying: come back later" in line for line in lab.lines
    )


def test_permanent_provider_errors_end_the_run_in_the_providers_words():
    lab = swapped()

    def fail(_call: str) -> None:
        raise ProviderError("your account is closed")

    lab.world.before = fail
    with pytest.raises(ProviderError, match="your account is closed") as caught:
        lab.run(with_origin(request(V2)))
    assert len(caught.value.details["instances"]) == 3


def test_latencies_are_measured_from_records_of_swaps():
    lab = swapped(data=True)
    latencies = lab.world.latencies
    lab.run(with_origin(request(V2, data=True)))
    found = measured(Ledger(lab.store, FLEET).records(1))
    assert found == pytest.approx(
        {name: getattr(latencies, name) for name in ("boot", "health", "check", "drain", "stop")}, abs=0.2
    )
