# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often the engine observes a fleet, and what it reads, if each observation costs calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import Launch, LaunchSlot, Remove
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.pace import (
    StepDurations,
    every_second,
    pace_for,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.promises import Promises
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.cloud_pace import (
    LONGEST_WAIT,
    SHORTEST_WAIT,
    cloud_pace,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Pace, VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies, World
from ansible_collections.immutable.infra.tests.support.fleetlab import FLEET, V1, V2, Lab, request

CLOUD = Latencies(boot=26.0, health=2.0, check=10.0, drain=30.0, stop=15.0)
INSTANT = Latencies(boot=0.0, health=0.0, check=0.0, drain=0.0, stop=0.0)


class BlindClock:
    """The clock of a cloud: it knows of no events, so changes are visible at the next observation."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def wait(self, seconds: float) -> None:
        self._clock.advance(seconds)


class Cloud(Lab):
    """Observed at a pace. Its load balancer forgets drained members and does not report requests in flight."""

    def __init__(self, pace: Pace, latencies: Latencies = CLOUD) -> None:
        super().__init__(World(latencies, forgets_drained=True))
        self.world.reports_in_flight = False
        self.provider = SimulatedProvider(self.world, BlindClock(self.world.clock))
        self.pace = pace

    def swap(self, **changes: object) -> float:
        """Swap to V2. Returns the seconds it took; ``reads`` and ``calls`` are of this swap alone."""
        self.run(request(V1, **changes))
        self.world.reads.clear()
        self.world.calls.clear()
        began = self.world.clock.now()
        self.run(request(V2, **changes))
        return self.world.clock.now() - began


def test_an_observation_is_late_by_a_tenth_at_most_and_their_number_grows_logarithmically() -> None:
    for duration, most in ((2.5, 10), (26.0, 36), (60.0, 45), (120.0, 52)):
        at, count = 0.0, 0
        while at < duration:
            at, count = at + cloud_pace(at), count + 1
        assert at <= 1.1 * duration and count <= most, duration
    assert cloud_pace(0.0) == SHORTEST_WAIT and cloud_pace(1e6) == cloud_pace(0.0, 1e6) == LONGEST_WAIT
    assert cloud_pace(3.0, 10.0) == 9.0


def test_the_next_instance_is_not_observed_before_the_shortest_known_duration() -> None:
    durations, paced = StepDurations(), []

    def pace(idle: float, due: float) -> float:
        paced.append((idle, due))
        return due or 0.5

    assert durations.next_observation(pace, 100.0, 7.0) == 0.5 and paced == [(7.0, 0.0)]
    durations.note("launched", "a", 100.0)
    durations.note("launched", "b", 100.0)
    durations.note("sealed", "a", 126.0)
    durations.note("sealed", "b", 130.0)
    durations.note("in service", "a", 140.0)
    durations.note("in service", "b", 140.0)
    paced.clear()
    durations.note("launched", "c", 200.0)
    assert durations.next_observation(pace, 205.0, 0.0) == 21.0 and paced == [(5.0, 21.0)]
    durations.note("launched", "d", 210.0)
    assert durations.next_observation(pace, 230.0, 0.0) == 0.5, "c is overdue"


@pytest.mark.parametrize("latencies", [CLOUD, replace(CLOUD, boot=2.6, health=0.2, check=1.0, drain=3.0, stop=1.5)])
def test_a_swap_at_the_pace_of_a_cloud_stays_near_its_bound_with_few_observations(latencies: Latencies) -> None:
    lab = Cloud(cloud_pace, latencies)
    seconds = lab.swap(size=20, surge=2, drain_timeout=latencies.drain)
    bound = 10 * (latencies.boot + latencies.health + latencies.check + latencies.drain) + latencies.stop
    assert bound <= seconds <= 1.1 * bound
    assert lab.world.reads["instances"] < 30 * 10
    frequent = Cloud(every_second, latencies)
    frequent.swap(size=20, surge=2, drain_timeout=latencies.drain)
    if latencies is CLOUD:
        assert 2.5 * lab.world.reads["instances"] < frequent.world.reads["instances"]


def test_an_instant_wave_takes_three_observations_and_four_changes() -> None:
    lab = Cloud(cloud_pace, INSTANT)
    lab.swap(size=20, surge=5, drain_timeout=0.0)
    assert lab.world.calls == ["launch", "register", "drain", "remove"] * 4
    # Three more: before and after the lease is taken, and one that finds nothing left to do.
    assert lab.world.reads["instances"] <= 3 * 4 + 3


def test_volumes_of_a_fleet_without_data_are_listed_once_before_the_lease_and_once_after() -> None:
    lab = Cloud(every_second)
    lab.swap(size=2)
    assert lab.world.reads["volumes"] == 2 < lab.world.reads["instances"] == lab.world.reads["members"]
    lab = Cloud(every_second)
    lab.swap(size=2, data=True)
    assert lab.world.reads["volumes"] == lab.world.reads["instances"]


def test_volumes_that_another_run_created_before_the_lease_are_observed() -> None:
    lab = Cloud(every_second)
    lab.run(request(V1, size=1))
    observer = Observer(lab.provider, lab.provider.traffic(FLEET), lab.provider.probe, FLEET)
    assert observer.observe(data=False).volumes == ()
    lab.provider.volumes.create([VolumeRequest(fleet=FLEET, slot=0, name="uploads", size=1024, mount="/data")])
    assert observer.observe(data=False).volumes == ()
    observer.forget_volumes()
    assert len(observer.observe(data=False).volumes) == len(observer.observe(data=False).volumes) == 1


def test_spared_probes_are_made_up_for_without_reading_the_fleet_again() -> None:
    lab = Cloud(every_second)
    waits: list[float] = []
    wait = lab.provider.clock.wait
    lab.provider.clock.wait = lambda seconds: (waits.append(seconds), wait(seconds))[1]  # type: ignore[method-assign]
    lab.run(request(V1, size=2))
    lab.world.reads.clear()
    lab.world.calls.clear()
    waits.clear()
    lab.run(request(V2, size=2, drain_timeout=30.0))
    observations = lab.world.reads["instances"]
    # One before each wait and each pass of actions, and two more, of which one is before the lease.
    assert observations <= len(waits) + len(lab.world.calls) + 2
    assert lab.world.reads["probe"] > observations


def test_a_removal_makes_room_for_a_launch_in_the_same_pass_but_not_before() -> None:
    lab = Cloud(every_second, INSTANT)
    lab.run(request(V1, size=2))
    traffic, gone = lab.provider.traffic(FLEET), max(lab.world.machines)
    traffic.drain([gone], 30.0)
    observed, intent = (
        Observer(lab.provider, traffic, lab.provider.probe, FLEET).observe(),
        request(V2, size=1, surge=1).intent,
    )
    promises = Promises(observed, intent)
    promises.allow(Remove((gone,)))
    promises.allow(Launch((LaunchSlot(0),)))
    with pytest.raises(FleetError, match="3 instances would run, but no more than 2 may"):
        Promises(observed, intent).allow(Launch((LaunchSlot(0),)))


def test_a_leaving_member_is_out_of_traffic_once_its_machine_is_down() -> None:
    lab = Cloud(every_second)
    lab.run(request(V1, size=2))
    (one, two) = sorted(lab.world.machines)
    traffic = lab.provider.traffic(FLEET)
    observer = Observer(lab.provider, traffic, lab.provider.probe, FLEET)
    traffic.drain([one, two], 900.0)
    lab.world.machines[one].crashes_at = lab.world.clock.now()
    lab.world.settle = lambda: None  # type: ignore[method-assign]  # the load balancer does not notice yet
    assert {view.id: view.member for view in observer.observe().instances} == {one: None, two: "drain"}
    del lab.world.machines[one]
    assert observer.observe().orphaned_members == ()


def test_a_shared_balancer_may_have_members_of_others() -> None:
    lab = Cloud(every_second)
    lab.run(request(V1, size=1))
    traffic = lab.provider.traffic(FLEET)
    traffic.register({"theirs": ("192.0.2.7", 80)})
    assert Observer(lab.provider, traffic, lab.provider.probe, FLEET).observe().orphaned_members == ("theirs",)
    traffic.shared = True  # type: ignore[misc]
    assert Observer(lab.provider, traffic, lab.provider.probe, FLEET).observe().orphaned_members == ()


def test_a_provider_may_have_a_pace_of_its_own() -> None:
    provider = SimulatedProvider()
    assert pace_for(provider) is every_second
    own: Callable[[float, float], float] = cloud_pace
    provider.pace = own
    assert pace_for(provider) is cloud_pace


def test_a_long_wait_needs_few_observations() -> None:
    lab = Cloud(cloud_pace, INSTANT)
    lab.swap(size=2, surge=2, strategy="blue_green", keep_old=3600.0, drain_timeout=0.0)
    assert lab.world.reads["instances"] < 300
