# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated cloud's instances: their states over time, and refusals."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    VolumeRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, Latencies
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import PROTECTED, TAINTED
from ansible_collections.immutable.infra.tests.support.cloud import FLEET, GOOD, SimulatedCloud, launch_request


@pytest.fixture
def cloud() -> SimulatedCloud:
    return SimulatedCloud()


def test_a_launched_instance_boots_seals_itself_and_gets_healthy(cloud: SimulatedCloud) -> None:
    (launched,) = cloud.compute.launch([launch_request(zone="a")])
    assert (launched.state, launched.evidence, launched.zone, launched.created, launched.started) == (
        PENDING,
        None,
        "a",
        cloud.start,
        cloud.start,
    )
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == cloud.start + 30.0
    sealed = cloud.instances()["i"]
    assert sealed.state == RUNNING and (sealed.evidence.digest, sealed.evidence.nonce) == (GOOD, "n")
    assert not cloud.healthy()
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == cloud.start + 33.0 and cloud.healthy()


def test_the_same_token_is_the_same_instance(cloud: SimulatedCloud) -> None:
    cloud.compute.launch([launch_request()])
    cloud.clock.wait(10.0)
    (again,) = cloud.compute.launch([launch_request(nonce="another")])
    assert again.nonce == "n" and again.created == cloud.start and len(cloud.instances()) == 1


@pytest.mark.parametrize("change", [{"image": "sha256:other"}, {"slot": 1}, {"launch": "other"}, {"fleet": "other"}])
def test_a_token_is_never_used_for_something_else(cloud: SimulatedCloud, change: dict) -> None:
    cloud.compute.launch([launch_request()])
    with pytest.raises(ProviderError, match="token i was used for another launch"):
        cloud.compute.launch([launch_request(**change)])


def test_a_token_is_spent_once_its_instance_was_removed(cloud: SimulatedCloud) -> None:
    cloud.run()
    cloud.compute.remove(["i"])
    assert cloud.compute.launch([launch_request()])[0].state == STOPPING
    cloud.clock.wait(10.0)
    with pytest.raises(ProviderError, match="belonged to an instance that was removed"):
        cloud.compute.launch([launch_request()])


def test_a_stop_begins_and_is_over_later(cloud: SimulatedCloud) -> None:
    cloud.run()
    began = cloud.clock.now()
    cloud.compute.stop(["i", "unknown"])
    assert cloud.clock.now() == began
    stopping = cloud.instances()["i"]
    assert (stopping.state, stopping.stopping_since) == (STOPPING, began) and stopping.evidence is not None
    assert not cloud.healthy()
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == began + 5.0
    stopped = cloud.instances()["i"]
    assert (stopped.state, stopped.stopping_since, stopped.evidence) == (STOPPED, 0.0, None)


def test_a_repeated_stop_does_not_begin_again(cloud: SimulatedCloud) -> None:
    cloud.run()
    began = cloud.clock.now()
    cloud.compute.stop(["i"])
    cloud.clock.wait(3.0)
    cloud.compute.stop(["i"])
    assert cloud.instances()["i"].stopping_since == began
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == began + 5.0
    cloud.compute.stop(["i"])
    assert cloud.state() == STOPPED


def test_an_instance_that_is_stopped_before_it_seals_itself_has_no_evidence(cloud: SimulatedCloud) -> None:
    cloud.compute.launch([launch_request()])
    cloud.clock.wait(28.0)
    cloud.compute.stop(["i"])
    cloud.clock.wait(4.0)
    assert cloud.state() == STOPPING and cloud.instances()["i"].evidence is None


def test_only_power_off_ends_an_instance_that_does_not_shut_down() -> None:
    cloud = SimulatedCloud(behaviors={GOOD: Behavior(stops=False)})
    cloud.run()
    cloud.compute.stop(["i"])
    cloud.clock.wait(10_000.0)
    assert cloud.state() == STOPPING
    cloud.compute.power_off(["i", "unknown"])
    assert cloud.state() == STOPPED
    cloud.compute.start(["i"])
    assert cloud.state() == PENDING


def test_a_start_boots_again(cloud: SimulatedCloud) -> None:
    cloud.run()
    cloud.compute.power_off(["i"])
    began = cloud.clock.now()
    cloud.compute.start(["i"])
    cloud.clock.wait(10.0)
    cloud.compute.start(["i"])
    found = cloud.instances()["i"]
    assert (found.state, found.started, found.created, found.evidence) == (PENDING, began, cloud.start, None)
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == began + 30.0 and cloud.state() == RUNNING


def test_a_start_is_refused_for_missing_and_stopping_instances(cloud: SimulatedCloud) -> None:
    with pytest.raises(ProviderError, match="there is no instance i"):
        cloud.compute.start(["i"])
    cloud.run()
    cloud.compute.stop(["i"])
    with pytest.raises(ProviderError, match="is shutting down and cannot be started"):
        cloud.compute.start(["i"])


def test_a_removed_instance_shuts_down_first_and_keeps_its_volumes_until_then(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    cloud.run(data=True, volumes=(volume,))
    cloud.compute.remove(["i", "unknown"])
    states = set()
    while cloud.instances():
        states.add(cloud.state())
        assert cloud.holder() == "i"
        cloud.clock.wait(1.0)
    assert states == {STOPPING} and cloud.clock.now() == cloud.start + 45.0
    assert cloud.holder() is None and cloud.volumes.list(FLEET)[0].attached_at == 0.0


@pytest.mark.parametrize("how", ["stop", "power_off", "death"])
def test_a_stopped_instance_is_removed_at_once(cloud: SimulatedCloud, how: str) -> None:
    volume = cloud.volume()
    cloud.run(volumes=(volume,))
    if how == "death":
        cloud.world.machines["i"].crashes_at = cloud.clock.now()
    else:
        getattr(cloud.compute, how)(["i"])
    cloud.clock.wait(10.0)
    cloud.compute.remove(["i"])
    assert not cloud.world.machines and not cloud.instances() and cloud.holder() is None


def test_a_removal_does_not_restart_a_stop_and_power_off_speeds_it_up(cloud: SimulatedCloud) -> None:
    cloud.run()
    cloud.compute.stop(["i"])
    cloud.clock.wait(3.0)
    cloud.compute.remove(["i"])
    cloud.clock.wait(60.0)
    assert cloud.clock.now() == cloud.start + 45.0 and not cloud.instances()
    cloud.run("j")
    cloud.compute.remove(["j"])
    cloud.compute.power_off(["j"])
    assert not cloud.instances()


def test_tags_are_set_and_removed(cloud: SimulatedCloud) -> None:
    cloud.compute.launch([launch_request(tags={"port": "80"})])
    cloud.compute.tag(["i", "unknown"], {TAINTED: "drifted", PROTECTED: "a person"})
    assert cloud.instances()["i"].tags == {"port": "80", TAINTED: "drifted", PROTECTED: "a person"}
    cloud.compute.tag(["i"], {TAINTED: None, "absent": None})
    assert cloud.instances()["i"].tags == {"port": "80", PROTECTED: "a person"}


def test_fleets_are_known_by_their_instances_and_volumes(cloud: SimulatedCloud) -> None:
    assert cloud.compute.fleets() == []
    cloud.compute.launch([launch_request(fleet="one", purpose="verify")])
    cloud.volumes.create([VolumeRequest(fleet="two", slot=0, name="uploads", size=1, mount="/data")])
    assert cloud.compute.fleets() == ["one", "two"]
    assert cloud.compute.list("one")[0].purpose == "verify" and cloud.compute.list("two") == []


# Behavior


@pytest.mark.parametrize(
    ("behavior", "turns"),
    [
        (Behavior(), [33.0]),
        (Behavior(boots=False), []),
        (Behavior(gets_healthy=False), []),
        (Behavior(flap_seconds=7.0), [33.0, 40.0, 47.0, 54.0, 61.0, 68.0, 75.0]),
        (Behavior(flap_seconds=0.1, healthy_for=0.35), [33.0, 33.1, 33.2, 33.3]),
        (Behavior(healthy_for=20.0), [33.0, 53.0]),
        (Behavior(flap_seconds=15.0, healthy_for=40.0), [33.0, 48.0, 63.0, 73.0]),
    ],
)
def test_health_comes_and_goes_as_the_image_behaves(behavior: Behavior, turns: list[float]) -> None:
    cloud = SimulatedCloud(behaviors={GOOD: behavior})
    cloud.compute.launch([launch_request()])
    assert cloud.health_changes(80.0) == turns


def test_an_instance_that_never_boots_stays_pending() -> None:
    cloud = SimulatedCloud(behaviors={GOOD: Behavior(boots=False)})
    cloud.run()
    assert cloud.state() == PENDING


def test_an_image_may_seal_as_another() -> None:
    cloud = SimulatedCloud(behaviors={GOOD: Behavior(seals_as="sha256:other")})
    cloud.run()
    assert cloud.instances()["i"].evidence.digest == "sha256:other"
    cloud.world.behaviors.clear()
    assert cloud.instances()["i"].evidence.digest == GOOD


def test_one_machine_may_differ_from_its_image(cloud: SimulatedCloud) -> None:
    cloud.world.traits_of = lambda request: (
        (Latencies(boot=50.0), None) if request.token == "slow" else (None, Behavior(gets_healthy=False))
    )
    cloud.compute.launch([launch_request("slow"), launch_request("ill", slot=1)])
    cloud.world.clock.advance(45.0)
    assert (cloud.state("slow"), cloud.state("ill")) == (PENDING, RUNNING)
    cloud.world.clock.advance(10.0)
    assert (cloud.healthy("slow"), cloud.healthy("ill")) == (True, False)


def test_a_crash_is_an_event_and_a_start_recovers_from_it(cloud: SimulatedCloud) -> None:
    cloud.run()
    cloud.world.machines["i"].crashes_at = cloud.clock.now() + 7.0
    assert cloud.health_changes(60.0) == [7.0]
    assert cloud.state() == STOPPED
    cloud.compute.start(["i"])
    assert cloud.health_changes(60.0) == [33.0]


def test_a_crash_shows_in_any_state(cloud: SimulatedCloud) -> None:
    cloud.compute.launch([launch_request(), launch_request("j", slot=1)])
    assert cloud.state() == PENDING
    cloud.world.machines["i"].crashes_at = cloud.clock.now()
    assert cloud.state() == STOPPED
    cloud.world.clock.advance(40.0)
    cloud.compute.remove(["j"])
    cloud.world.machines["j"].crashes_at = cloud.clock.now()
    assert list(cloud.instances()) == ["i"]


# Time


def test_a_wait_without_events_ends_on_time_and_never_goes_back() -> None:
    clock = VirtualClock(100.0)
    clock.wait(5.0)
    clock.wait(-5.0)
    clock.advance(-5.0)
    assert clock.now() == 105.0


def test_a_minimum_wait_gathers_events() -> None:
    clock = VirtualClock(100.0, min_wait=1.0)
    clock.next_event = lambda now: now + 0.125
    clock.wait(60.0)
    assert clock.now() == 101.0
    clock.wait(0.5)
    assert clock.now() == 101.5


def test_another_controllers_clock_may_differ(cloud: SimulatedCloud) -> None:
    skewed = cloud.world.clock.skewed(-40.0)
    other = SimulatedProvider(cloud.world, skewed)
    assert other.clock.now() == cloud.start - 40.0
    other.compute.launch([launch_request()])
    other.clock.wait(60.0)
    assert cloud.clock.now() == cloud.start + 30.0 and other.clock.now() == cloud.start - 10.0
    skewed.skew = 500.0
    assert other.clock.now() == cloud.start + 530.0 and other.compute.list(FLEET)[0].created == cloud.start


def test_calls_take_their_latency_and_reads_take_none() -> None:
    cloud = SimulatedCloud(latencies=Latencies(call=2.0))
    cloud.compute.launch([launch_request("a"), launch_request("b")])
    assert cloud.clock.now() == cloud.start + 2.0 and cloud.instances()["a"].created == cloud.start + 2.0
    cloud.compute.list(FLEET)
    cloud.volumes.list(FLEET)
    assert cloud.clock.now() == cloud.start + 2.0
