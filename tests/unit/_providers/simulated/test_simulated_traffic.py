# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated balancers: one keeps drained members like HAProxy, one forgets them like a cloud's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest, Member
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    Behavior,
    Latencies,
    World,
)

FLEET = "shop-prod"
AT = ("192.0.2.1", 8080)
TIMES = Latencies(boot=30.0, health=3.0, check=2.0, drain=10.0, stop=5.0)


class Balanced:
    """Healthy instances a, b and c behind a balancer."""

    def __init__(self, forgets_drained: bool = False) -> None:
        self.world = World(TIMES, forgets_drained=forgets_drained)
        self.provider = SimulatedProvider(self.world)
        self.clock = self.world.clock
        self.provider.compute.launch(
            [
                LaunchRequest(token=each, fleet=FLEET, slot=0, image="sha256:1", artifact={}, launch="l", nonce="n")
                for each in "abc"
            ]
        )
        self.clock.advance(100.0)
        self.traffic = self.provider.traffic(FLEET)
        self.traffic.ensure()

    def register(self, *ids: str, staged: bool = False) -> None:
        self.traffic.register(dict.fromkeys(ids, AT), staged)

    def serve(self, *ids: str) -> None:
        self.register(*ids)
        self.clock.advance(50.0)

    def members(self) -> dict[str, Member]:
        return {each.id: each for each in self.traffic.members()}

    def states(self) -> dict[str, str]:
        return {each.id: each.state for each in self.traffic.members()}


@pytest.fixture(params=[False, True], ids=["keeps", "forgets"])
def lab(request: pytest.FixtureRequest) -> Balanced:
    return Balanced(request.param)


@pytest.fixture
def keeps() -> Balanced:
    return Balanced()


@pytest.fixture
def forgets() -> Balanced:
    return Balanced(forgets_drained=True)


def test_there_is_no_balancer_before_it_is_created(keeps: Balanced) -> None:
    traffic = keeps.provider.traffic("other")
    assert traffic.members() == []
    for act in (lambda: traffic.register({"a": AT}), lambda: traffic.switch(["a"], [])):
        with pytest.raises(TrafficError, match="there is no balancer"):
            act()
    assert traffic.ensure() and not traffic.ensure()


def test_each_fleet_has_a_balancer_of_its_own(keeps: Balanced) -> None:
    other = keeps.provider.traffic("other")
    other.ensure()
    keeps.serve("a")
    assert other.members() == []
    other.remove()
    other.remove()
    assert keeps.states() == {"a": "up"} and not keeps.traffic.ensure()
    keeps.traffic.remove()
    assert keeps.members() == {} and keeps.traffic.ensure()


def test_a_member_is_up_once_its_checks_passed(lab: Balanced) -> None:
    lab.register("a")
    began = lab.clock.now()
    assert lab.members()["a"] == Member("a", "down", 0, began, passing=False)
    lab.clock.wait(60.0)
    assert lab.members()["a"] == Member("a", "up", 1, began + 2.0, passing=True)
    lab.register("a")  # a repetition changes nothing
    assert lab.members()["a"].since == began + 2.0


def test_a_member_that_fails_is_down_since_then(lab: Balanced) -> None:
    lab.serve("a", "b")
    began = lab.clock.now()
    lab.provider.compute.stop(["a"])
    lab.world.machines["b"].crashes_at = began
    assert lab.members() == {"a": Member("a", "down", 0, began), "b": Member("b", "down", 0, began)}
    lab.register("c")
    lab.clock.advance(10.0)
    lab.provider.compute.power_off(["c"])
    assert lab.members()["c"] == Member("c", "down", 0, began + 10.0)
    lab.traffic.deregister(["c"])
    lab.provider.compute.remove(["a"])
    lab.clock.wait(60.0)
    assert lab.states()["a"] == "down"  # the instance is removed, its member is not
    lab.traffic.deregister(["a", "unknown"])
    assert list(lab.members()) == ["b"]


def test_a_member_that_flaps_is_up_in_between(lab: Balanced) -> None:
    lab.world.machines["a"].behavior = Behavior(flap_seconds=20.0)
    lab.provider.compute.power_off(["a"])
    lab.provider.compute.start(["a"])
    lab.register("a")
    began, observed = lab.clock.now(), []
    while lab.clock.now() < began + 80.0:
        lab.clock.wait(100.0)
        member = lab.members()["a"]
        observed.append((lab.clock.now() - began, member.state, member.since - began))
    first = [(30.0, "down", 0.0), (33.0, "down", 0.0), (35.0, "up", 35.0)]
    assert observed == [*first, (53.0, "down", 53.0), (73.0, "down", 53.0), (75.0, "up", 75.0), (93.0, "down", 93.0)]


def test_a_staged_member_is_checked_and_gets_no_request(lab: Balanced) -> None:
    lab.register("a", staged=True)
    assert (lab.members()["a"].state, lab.members()["a"].in_flight, lab.members()["a"].passing) == ("drain", 0, False)
    lab.clock.wait(60.0)
    lab.register("a", staged=True)
    assert (lab.members()["a"].state, lab.members()["a"].in_flight, lab.members()["a"].passing) == ("drain", 0, True)
    lab.clock.wait(1_000.0)
    assert "a" in lab.members()  # a staged member does not drain, so it is not forgotten


def test_a_staged_member_has_nothing_to_drain(lab: Balanced) -> None:
    lab.register("a", staged=True)
    lab.traffic.drain(["a"], 30.0)
    assert [each.in_flight for each in lab.traffic.members()] == ([] if lab.world.forgets_drained else [0])


def test_a_switch_changes_all_at_once(lab: Balanced) -> None:
    lab.serve("a", "b")
    lab.register("c", staged=True)
    lab.clock.advance(10.0)
    now = lab.clock.now()
    for _again in range(2):
        lab.traffic.switch(["c"], ["a", "b"])
        members = lab.members()
        assert lab.states() == {"a": "drain", "b": "drain", "c": "up"}
        assert [members[each].since for each in "abc"] == [now, now, now]
        assert [members[each].in_flight for each in "abc"] == [1, 1, 1] and all(
            each.passing for each in members.values()
        )


def test_a_switch_to_an_unknown_member_changes_nothing(lab: Balanced) -> None:
    lab.serve("a")
    with pytest.raises(TrafficError, match="no members of the balancer: b, c"):
        lab.traffic.switch(["b", "c"], ["a"])
    assert lab.states() == {"a": "up"}


def test_a_staged_member_may_serve_by_registration_and_a_serving_one_is_not_staged(lab: Balanced) -> None:
    lab.register("a", staged=True)
    lab.clock.advance(10.0)
    lab.register("a")
    assert lab.states() == {"a": "up"}
    lab.register("a", staged=True)
    assert lab.states() == {"a": "up"}


def test_a_drained_member_stays_until_it_is_deregistered(keeps: Balanced) -> None:
    keeps.serve("a")
    began = keeps.clock.now()
    keeps.traffic.drain(["a", "unknown"], 3.0)
    keeps.clock.wait(4.0)
    keeps.traffic.drain(["a"], 3.0)
    assert keeps.members() == {"a": Member("a", "drain", 1, began, passing=True)}
    keeps.clock.wait(60.0)
    assert keeps.clock.now() == began + 10.0
    keeps.clock.wait(1_000.0)
    assert keeps.members() == {"a": Member("a", "drain", 0, began, passing=True)}


def test_a_draining_member_comes_back_at_once(keeps: Balanced) -> None:
    keeps.serve("a")
    keeps.traffic.drain(["a"], 30.0)
    keeps.clock.advance(1.0)
    keeps.register("a")
    assert keeps.members()["a"] == Member("a", "up", 1, keeps.clock.now(), passing=True)


@pytest.mark.parametrize(("timeout", "forgotten_after"), [(30.0, 10.0), (4.0, 4.0), (0.0, 0.0)])
def test_a_forgetful_balancer_removes_drained_members(
    forgets: Balanced, timeout: float, forgotten_after: float
) -> None:
    forgets.serve("a")
    began = forgets.clock.now()
    forgets.traffic.drain(["a"], timeout)
    while forgets.members():
        assert forgets.states() == {"a": "drain"}
        forgets.clock.wait(60.0)
    assert forgets.clock.now() == began + forgotten_after
    forgets.traffic.drain(["a"], timeout)
    assert forgets.members() == {}


def test_a_timeout_given_after_a_switch_holds(forgets: Balanced) -> None:
    forgets.world.latencies = replace(TIMES, drain=1_000.0)
    forgets.serve("a")
    forgets.traffic.switch([], ["a"])
    forgets.traffic.drain(["a"], 20.0)
    began = forgets.clock.now()
    forgets.clock.wait(100.0)
    assert forgets.clock.now() == began + 20.0 and forgets.members() == {}


def test_a_member_that_is_switched_back_is_not_forgotten(forgets: Balanced) -> None:
    forgets.serve("a")
    forgets.traffic.drain(["a"], 5.0)
    forgets.traffic.switch(["a"], [])
    forgets.clock.advance(100.0)
    assert forgets.states() == {"a": "up"}
    forgets.traffic.drain(["a"], 30.0)
    forgets.clock.advance(8.0)
    assert forgets.states() == {"a": "drain"}


def test_a_forgetful_balancer_checks_a_returning_member_again(forgets: Balanced) -> None:
    forgets.serve("a")
    forgets.traffic.drain(["a"], 30.0)
    forgets.register("a")
    assert forgets.states() == {"a": "down"}
    forgets.clock.wait(60.0)
    assert forgets.states() == {"a": "up"}
    forgets.clock.wait(1_000.0)
    assert forgets.states() == {"a": "up"}


def test_a_member_that_is_down_has_nothing_in_flight(lab: Balanced) -> None:
    lab.serve("a")
    lab.traffic.drain(["a"], 30.0)
    lab.provider.compute.power_off(["a"])
    assert [each.in_flight for each in lab.traffic.members()] == ([] if lab.world.forgets_drained else [0])


def test_a_balancer_may_not_report_what_is_in_flight(lab: Balanced) -> None:
    lab.serve("a")
    lab.world.reports_in_flight = False
    assert lab.members()["a"].in_flight is None


@pytest.mark.parametrize("balancing", [True, False])
def test_a_restart_loses_every_member(lab: Balanced, balancing: bool) -> None:
    lab.serve("a")
    lab.world.lose_members(balancing)
    assert lab.members() == {} and lab.traffic.ensure() is not balancing
    lab.serve("a")
    assert lab.states() == {"a": "up"}
