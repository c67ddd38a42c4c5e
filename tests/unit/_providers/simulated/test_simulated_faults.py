# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults in the simulated cloud: hooks, stale reads, seeded randomness; and copies of an observed cloud."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Simulation
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    VolumeRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.faults import simulate
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.snapshot import world_as_observed
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies, World
from ansible_collections.immutable.infra.tests.support.cloud import FLEET, launch_request

AT = ("192.0.2.1", 8080)


def ids(provider: SimulatedProvider) -> list[str]:
    return [each.id for each in provider.compute.list(FLEET)]


@pytest.fixture
def provider() -> SimulatedProvider:
    return SimulatedProvider(World())


# Hooks


@pytest.mark.parametrize(("when", "left"), [("before", []), ("between", ["a"]), ("after", ["a", "b", "c"])])
def test_a_call_may_fail_before_during_and_after_its_effects(
    provider: SimulatedProvider, when: str, left: list[str]
) -> None:
    def fail(call: str) -> None:
        raise ProviderError(f"{call} failed")

    setattr(provider.world, when, fail)
    with pytest.raises(ProviderError, match="launch failed"):
        provider.compute.launch([launch_request("a"), launch_request("b"), launch_request("c")])
    assert ids(provider) == left and provider.world.calls == ["launch"]


def test_every_changing_call_runs_the_hooks(provider: SimulatedProvider) -> None:
    hooked: list[str] = []
    provider.world.before = provider.world.after = hooked.append
    compute, volumes, traffic = provider.compute, provider.volumes, provider.traffic(FLEET)
    volumes.create([VolumeRequest(fleet=FLEET, slot=0, name="d", size=1, mount="/d")])
    volumes.modify([f"{FLEET}/0-d"], 2, "")
    compute.launch([launch_request("a")])
    provider.world.clock.wait(60.0)
    volumes.attach([f"{FLEET}/0-d"], "a")
    traffic.ensure()
    traffic.register({"a": AT}, staged=True)
    traffic.switch(["a"], [])
    traffic.drain(["a"], 1.0)
    traffic.deregister(["a"])
    traffic.remove()
    compute.tag(["a"], {"x": "y"})
    compute.stop(["a"])
    compute.power_off(["a"])
    volumes.detach([f"{FLEET}/0-d"])
    compute.start(["a"])
    compute.remove(["a"])
    volumes.remove([f"{FLEET}/0-d"])
    calls = "create_volumes modify_volumes launch attach ensure register switch drain deregister remove_traffic"
    further = "tag stop power_off detach start remove remove_volumes"
    assert provider.world.calls == [*calls.split(), *further.split()]
    assert hooked == [each for call in provider.world.calls for each in (call, call)] and not provider.world.reads


def test_reads_are_counted_by_kind_and_may_be_throttled(provider: SimulatedProvider) -> None:
    def throttle(kind: str) -> None:
        raise ProviderError(f"{kind}: slow down")

    reads = {
        "instances": lambda: provider.compute.list(FLEET),
        "volumes": lambda: provider.volumes.list(FLEET),
        "members": lambda: provider.traffic(FLEET).members(),
        "probe": lambda: provider.probe([]),
        "fleets": provider.compute.fleets,
        "console": lambda: provider.compute.console("a"),
    }
    for read in reads.values():
        read()
    provider.world.reading = throttle
    for kind, read in reads.items():
        with pytest.raises(ProviderError, match=f"{kind}: slow down"):
            read()
    assert dict(provider.world.reads) == dict.fromkeys(reads, 2) and provider.world.calls == []


def test_a_stale_read_repeats_the_previous_answer(provider: SimulatedProvider) -> None:
    provider.compute.launch([launch_request("a")])
    assert ids(provider) == ["a"]
    provider.compute.launch([launch_request("b")])
    provider.world.stale = lambda kind: kind == "instances"
    assert ids(provider) == ids(provider) == ["a"]
    assert [each.id for each in provider.compute.list("other")] == []  # never read before
    provider.world.stale = lambda _kind: False
    assert ids(provider) == ["a", "b"]


def test_a_stale_read_has_its_old_facts_and_is_a_copy(provider: SimulatedProvider) -> None:
    provider.compute.launch([launch_request("a")])
    provider.compute.list(FLEET).clear()
    provider.clock.wait(60.0)
    provider.world.stale = lambda _kind: True
    assert [each.state for each in provider.compute.list(FLEET)] == [PENDING]
    provider.world.stale = lambda _kind: False
    assert [each.state for each in provider.compute.list(FLEET)] == [RUNNING]


def test_an_unchanged_instance_is_the_same_object(provider: SimulatedProvider) -> None:
    provider.compute.launch([launch_request("a"), launch_request("b")])
    first = provider.compute.list(FLEET)
    provider.compute.tag(["b"], {"x": "y"})
    second = provider.compute.list(FLEET)
    assert second[0] is first[0] and second[1].tags == {"x": "y"}


# Randomness


def simulated_world(simulation: Simulation) -> World:
    world = World()
    simulate(world, simulation)
    return world


def fates(simulation: Simulation, tokens: list[str]) -> dict[str, tuple]:
    world = simulated_world(simulation)
    SimulatedProvider(world).compute.launch([launch_request(token) for token in tokens])
    return {each: (machine.latencies, machine.behavior) for each, machine in sorted(world.machines.items())}


def test_random_traits_depend_only_on_seed_and_token() -> None:
    simulation = Simulation(spread=0.5, fail_boot=0.5, fail_health=0.5)
    tokens = [f"t{number}" for number in range(20)]
    drawn = fates(simulation, tokens)
    assert drawn == fates(simulation, tokens[::-1])
    assert drawn != fates(Simulation(spread=0.5, fail_boot=0.5, fail_health=0.5, seed=1), tokens)
    boots = [latencies.boot for latencies, _behaviour in drawn.values()]
    assert len(set(boots)) == 20 and all(15.0 <= each <= 45.0 for each in boots)
    assert {(each is None or each.boots, each is None or each.gets_healthy) for _latencies, each in drawn.values()} == {
        (boots, healthy) for boots in (True, False) for healthy in (True, False)
    }


def test_without_faults_everything_succeeds() -> None:
    assert set(fates(Simulation(boot=7.0), ["a", "b"]).values()) == {(Latencies(boot=7.0), None)}


def test_seeded_calls_fail_before_their_effect() -> None:
    def failed() -> list[int]:
        provider = SimulatedProvider(simulated_world(Simulation(fail_call=0.3, seed=4)))
        failed_calls = []
        for number in range(30):
            try:
                provider.compute.launch([launch_request(f"t{number}")])
            except ProviderError as error:
                assert "launch: the simulated cloud is unavailable" in error.message
                failed_calls.append(number)
        assert ids(provider) == [f"t{number}" for number in range(30) if number not in failed_calls]
        return failed_calls

    assert 3 <= len(failed()) <= 20 and failed() == failed()


# Predictions


def copy(provider: SimulatedProvider) -> SimulatedProvider:
    instances = provider.compute.list(FLEET)
    healthy = {each for each, passed in provider.probe(instances).items() if passed is True}
    members = provider.traffic(FLEET).members()
    return SimulatedProvider(
        world_as_observed(
            instances,
            provider.volumes.list(FLEET),
            members,
            healthy=healthy,
            now=provider.clock.now(),
            latencies=provider.world.latencies,
        )
    )


def test_a_copied_world_continues_like_the_observed_one(provider: SimulatedProvider) -> None:
    compute, traffic = provider.compute, provider.traffic(FLEET)
    traffic.ensure()
    provider.volumes.create([VolumeRequest(fleet=FLEET, slot=1, name="d", size=1, mount="/d")])
    compute.launch(
        [
            launch_request("up", zone="a"),
            launch_request("data", 1, data=True, volumes=(f"{FLEET}/1-d",)),
            launch_request("old", 2),
            launch_request("off", 3),
        ]
    )
    provider.world.clock.advance(100.0)
    compute.power_off(["off"])
    traffic.register({"up": AT, "data": AT, "old": AT})
    traffic.register({"staged": AT}, staged=True)
    provider.world.clock.advance(100.0)
    compute.launch([launch_request("boots", 4)])
    provider.world.clock.advance(10.0)
    compute.stop(["old"])
    traffic.drain(["data"], 30.0)
    provider.world.clock.advance(1.0)
    other = copy(provider)
    for _look in range(8):
        for left, right in zip(provider.compute.list(FLEET), other.compute.list(FLEET), strict=True):
            assert (left.id, left.state, left.zone, left.stopping_since) == (
                right.id,
                right.state,
                right.zone,
                right.stopping_since,
            )
        answers = [
            {(each.id, each.state, each.passing) for each in one.traffic(FLEET).members()} for one in (provider, other)
        ]
        assert answers[0] == answers[1]
        assert provider.volumes.list(FLEET) == other.volumes.list(FLEET)
        assert provider.probe(provider.compute.list(FLEET)) == other.probe(other.compute.list(FLEET))
        provider.world.clock.advance(5.0)
        other.world.clock.advance(5.0)
    assert {each.id: each.state for each in other.compute.list(FLEET)} == {
        "up": RUNNING,
        "data": RUNNING,
        "old": STOPPED,
        "off": STOPPED,
        "boots": RUNNING,
    }


def test_a_copied_world_includes_shutdowns_and_requests_in_flight(provider: SimulatedProvider) -> None:
    traffic = provider.traffic(FLEET)
    provider.compute.launch([launch_request("a"), launch_request("b")])
    traffic.ensure()
    traffic.register({"a": AT, "b": AT})
    provider.world.clock.advance(100.0)
    provider.compute.stop(["a"])
    traffic.drain(["b"], 30.0)
    other = copy(provider)
    assert [each.state for each in other.compute.list(FLEET)] == [STOPPING, RUNNING]
    assert [(each.state, each.in_flight) for each in other.traffic(FLEET).members()] == [("down", 0), ("drain", 1)]
    other.world.clock.advance(5.0)
    assert [each.state for each in other.compute.list(FLEET)] == [STOPPED, RUNNING]
    assert [each.in_flight for each in other.traffic(FLEET).members()] == [0, 0]


def test_an_unhealthy_instance_stays_unhealthy_in_a_copied_world(provider: SimulatedProvider) -> None:
    provider.compute.launch([launch_request("a")])
    provider.world.machines["a"].never_healthy = True
    provider.world.clock.advance(1_000.0)
    other = copy(provider)
    other.world.clock.advance(1_000.0)
    assert other.probe(other.compute.list(FLEET)) == {"a": "no answer"}
