# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps on the simulated provider."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, LockedError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.predict import simulated_swap
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, DUMB, FLEET, V1, V2, Lab, absent, request

DATA = [False, True]


def swapped(data: bool = False, image: str = V1) -> Lab:
    lab = Lab()
    lab.run(request(image, data=data))
    return lab


@pytest.mark.parametrize("data", DATA)
def test_an_empty_fleet_is_launched_in_one_call(data):
    lab = Lab()
    result = lab.run(request(data=data))
    assert result["changed"] and [each["slot"] for each in result["instances"]] == [0, 1, 2]
    assert all(each["serving"] and not each["outdated"] for each in result["instances"])
    assert lab.world.calls.count("launch") == 1
    assert [bool(each["volumes"]) for each in result["instances"]] == [data] * 3


@pytest.mark.parametrize("data", DATA)
def test_a_second_run_changes_nothing_and_takes_no_lock(data):
    lab = swapped(data)
    lab.world.calls.clear()
    lab.store.write = None  # not even a lease
    result = lab.run(request(data=data))
    assert not result["changed"] and lab.world.calls == []


@pytest.mark.parametrize("data", DATA)
def test_a_new_image_replaces_every_instance_within_the_floor(data):
    lab = swapped(data)
    volumes = dict(lab.world.volumes)
    result = lab.run(request(V2, data=data))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    assert result["lowest_in_service"] == (2 if data else 3)
    assert result["peak"] == 4
    assert set(lab.world.volumes) == set(volumes)
    assert lab.serving() == set(lab.world.machines)


def test_boots_overlap_where_slots_own_data():
    lab = swapped(data=True)
    began = lab.world.clock.now()
    lab.run(request(V2, data=True))
    took = lab.world.latencies
    alone = took.boot + took.drain + 2 * took.stop + took.health + took.check
    assert lab.world.clock.now() - began < 3 * alone - 5


def test_changed_settings_are_a_swap():
    lab = swapped()
    result = lab.run(request(V1, launch="other"))
    assert result["changed"] and {machine.instance.launch for machine in lab.world.machines.values()} == {"other"}


def test_scaling_out_and_in():
    lab = swapped()
    lab.run(request(size=5))
    assert sorted(lab.images()) == [0, 1, 2, 3, 4]
    result = lab.run(request(size=2))
    assert sorted(lab.images()) == [0, 1] and result["lowest_in_service"] == 2


@pytest.mark.parametrize(
    "bad, reason", [(BROKEN, "was not healthy within 120 s"), (DUMB, "did not seal itself within 300 s")]
)
@pytest.mark.parametrize("data", DATA)
def test_a_bad_image_stops_the_swap_and_the_old_one_stays_in_service(data, bad, reason):
    lab = swapped(data)
    volumes = {each.slot: each.attached_to for each in lab.world.volumes.values()}
    with pytest.raises(FleetError) as caught:
        lab.run(request(bad, data=data))
    failed = f"shop-local-0-launch{bad[7:]}-1"
    assert f"stopped: slot 0: {failed} failed: it {reason}" in caught.value.message
    assert caught.value.message.endswith(
        f"The last lines of {failed}'s console:\n  | {failed}: the last line of its console"
    )
    assert lab.images() == {0: [V1], 1: [V1], 2: [V1]}
    assert caught.value.details["lowest_in_service"] >= (2 if data else 3)
    assert len(lab.serving()) == 3
    assert {each.slot: each.attached_to for each in lab.world.volumes.values()} == volumes
    assert lab.store.read(f"fleets/{FLEET}/intent.json")[0]["status"] == "failed"


def test_a_host_that_seals_itself_as_another_image_never_serves():
    lab = swapped()
    lab.world.behaviors[V2] = Behavior(seals_as=V1)
    with pytest.raises(FleetError, match="it sealed itself as image"):
        lab.run(request(V2))
    assert lab.images() == {0: [V1], 1: [V1], 2: [V1]}


def test_a_failed_first_release_leaves_only_the_volumes():
    lab = Lab()
    with pytest.raises(FleetError):
        lab.run(request(BROKEN, data=True))
    assert not lab.world.machines and len(lab.world.volumes) == 3


def test_a_fix_reaches_a_fleet_without_a_healthy_instance():
    for data in DATA:
        lab = swapped(data)
        for machine in lab.world.machines.values():
            machine.never_healthy = True
        lab.run(request(V2, data=data))
        assert len(lab.serving()) == 3 and lab.images() == {0: [V2], 1: [V2], 2: [V2]}


def test_a_dead_host_is_replaced_by_the_next_run():
    lab = swapped(data=True)
    next(iter(lab.world.machines.values())).crashes_at = lab.world.clock.now()
    result = lab.run(request(data=True))
    assert result["changed"] and len(lab.serving()) == 3


def test_members_that_a_restarted_balancer_lost_are_registered_again():
    lab = swapped()
    lab.world.members.clear()
    lab.world.balancing = False
    lab.run(request())
    assert len(lab.serving()) == 3


def test_an_open_rollback_is_finished_and_then_reported():
    lab = swapped(data=True)
    stops = iter(range(100))

    def kill(call):
        if call == "stop" and next(stops) == 1:  # the second stop is the first one of the rollback
            raise KeyboardInterrupt

    lab.world.before = kill
    with pytest.raises(KeyboardInterrupt):
        lab.run(request(BROKEN, data=True))
    with pytest.raises(FleetError, match="was not healthy"):
        lab.run(request(BROKEN, data=True))
    assert lab.images() == {0: [V1], 1: [V1], 2: [V1]} and len(lab.serving()) == 3


def test_a_new_request_replaces_an_open_swap():
    lab = swapped(data=True)
    stops = iter(range(100))

    def kill(call):
        if call == "attach" and next(stops) == 0:
            raise KeyboardInterrupt

    lab.world.before = kill
    with pytest.raises(KeyboardInterrupt):
        lab.run(request(BROKEN, data=True))
    lab.run(request(V2, data=True))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]} and len(lab.serving()) == 3


def test_absent_removes_instances_and_keeps_the_volumes():
    lab = swapped(data=True)
    assert lab.run(absent())["changed"]
    assert not lab.world.machines and not lab.world.balancing and len(lab.world.volumes) == 3
    assert not lab.run(absent())["changed"]
    lab.run(request(data=True))
    assert len(lab.serving()) == 3
    lab.run(absent(remove_volumes=("uploads",)))
    assert not lab.world.volumes


def test_a_held_lease_is_reported_and_nothing_changes():
    lab = swapped()
    lab.world.calls.clear()
    clock = lab.provider.clock
    Lease(lab.store, FLEET, "another swap", clock, monotonic=clock.now).acquire()
    lab.holder_alive = True
    with pytest.raises(LockedError, match="another swap"):
        lab.run(request(V2))
    assert lab.world.calls == []


@pytest.mark.parametrize("data", DATA)
def test_a_prediction_agrees_with_the_swap(data):
    lab = swapped(data)
    observer = Observer(lab.provider, lab.provider.traffic(FLEET), lab.provider.probe, FLEET)
    observer.observe()
    lab.world.calls.clear()
    prediction = simulated_swap(
        request(V2, data=data), observer.snapshot, lab.store, now=lab.world.clock.now(), latencies=lab.world.latencies
    ).plan
    assert lab.world.calls == []
    began = lab.world.clock.now()
    result = lab.run(request(V2, data=data))
    assert [(step["action"], step["slot"]) for step in prediction["steps"]] == [
        (each["event"], each["slot"]) for each in result["timeline"]
    ]
    assert prediction["duration"] == pytest.approx(lab.world.clock.now() - began, abs=2.0)
    assert (prediction["lowest_in_service"], prediction["peak"], prediction["stops"]) == (
        result["lowest_in_service"],
        result["peak"],
        None,
    )


def test_a_balancer_that_loses_its_members_during_a_swap_gets_them_back_first():
    lab = swapped(data=True)
    losses = iter([True])

    def lose(call):
        if call == "drain" and next(losses, False):
            lab.world.members.clear()

    lab.world.after = lose
    lab.run(request(V2, data=True))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]} and len(lab.serving()) == 3
