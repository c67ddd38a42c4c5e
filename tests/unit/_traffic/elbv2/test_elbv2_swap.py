# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps of a simulated fleet behind target groups, under one virtual clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.pace import every_second
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    Latencies,
    World,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.balancer import (
    DELAY_ATTRIBUTE,
    TargetGroups,
)
from ansible_collections.immutable.infra.tests.support import fleetlab
from ansible_collections.immutable.infra.tests.support.aws.faults import drop_after, refuse
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.target_groups import HTTP, TargetGroupSetup, states
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, FLEET, V1, V2, absent, request


class Lab(fleetlab.Lab):
    """A simulated fleet behind target groups. The simulated machine decides whether a target is healthy."""

    def __init__(self, setup: TargetGroupSetup) -> None:
        super().__init__(World(Latencies(boot=8.0, health=1.0)))
        self.setup = setup
        self.pace = every_second
        self.provider.traffic = lambda _fleet: self.traffic()  # type: ignore[method-assign,return-value,assignment]
        setup.cloud.set(now=self.world.clock.now, drain=1.0, health=3, healthy=self._healthy)

    def traffic(self) -> TargetGroups:
        spec = TrafficSpec(target_groups=self.setup.balancer.groups, rule=self.setup.rule)
        return TargetGroups(Clients(self.setup.cloud.account()), FLEET, spec, HTTP, now=self.world.clock.now)

    def run(self, image: str, **changes: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().run(request(image, **changes) if image else absent())

    def _healthy(self, target: str, _group: str) -> bool:
        return target in self.world.machines and self.world.healthy(self.world.machines[target])


@pytest.fixture
def lab(one_group: TargetGroupSetup) -> Lab:
    return Lab(one_group)


@pytest.fixture
def blue_green_lab(two_groups: TargetGroupSetup) -> Lab:
    return Lab(two_groups)


def test_a_deadline_that_a_network_load_balancer_cannot_meet_is_refused_before_anything_begins(cloud: Cloud) -> None:
    lab = Lab(TargetGroupSetup(cloud, kind="network"))
    cloud.set(registration=180.0, health=10.0)
    with pytest.raises(TrafficError) as caught:
        lab.run(V1, size=1, health_deadline=120.0)
    assert caught.value.message == (
        "target group shop-0 of a Network Load Balancer: an instance comes into service up to 330 s after it is "
        "registered (180 s for the registration, then 5 checks at an interval of 30 s), but health.deadline is 120 s "
        "(allowed: a health.deadline of 330 s or more, or fewer checks or a shorter interval in the target group)"
    )
    assert not lab.world.machines and not lab.setup.changes() and not lab.store.list("fleets/")
    lab.run(V1, size=1, health_deadline=330.0)
    assert set(states(lab.traffic()).values()) == {("up", True)}


def test_a_rolling_swap_behind_one_group(lab: Lab) -> None:
    lab.run(V1, size=4)
    lab.setup.cloud.proxy.forget()
    began = lab.world.clock.now()
    result = lab.run(V2, size=4, surge=2, drain_timeout=20.0)
    assert result["lowest_in_service"] == 4 and {each["image"] for each in result["instances"]} == {V2}
    assert lab.setup.changes() == [
        "RegisterTargets",
        "DeregisterTargets",
        "RegisterTargets",
        "DeregisterTargets",
    ]
    # Two waves of boot, health, checks and drain, each observed within a second.
    assert lab.world.clock.now() - began <= 2 * (8 + 1 + 3 + 20) + 2 * 4
    lab.setup.cloud.proxy.forget()
    assert lab.run(V2, size=4, surge=2, drain_timeout=20.0)["changed"] is False
    assert lab.setup.changes() == [] and lab.setup.cloud.count(action="DescribeTargetHealth") == 1


def test_checks_that_fail_behind_passing_probes_end_the_swap_at_the_deadline(lab: Lab) -> None:
    lab.run(V1, size=1)
    old = lab.setup.registered()
    lab.setup.cloud.set(healthy=lambda target, _group: target in old)
    began = lab.world.clock.now()
    with pytest.raises(FleetError, match="failed: the load balancer's checks did not pass within 30 s"):
        lab.run(V2, size=1, health_deadline=30.0)
    assert lab.world.clock.now() - began < 60 and set(lab.world.machines) == old


def test_a_removed_fleet_leaves_the_group_unchanged(lab: Lab) -> None:
    lab.run(V1, size=2)
    foreign = lab.setup.launch(1)
    lab.setup.elb.register_targets(
        TargetGroupArn=lab.setup.balancer.groups[0], Targets=[{"Id": each, "Port": 8080} for each in foreign]
    )
    lab.run("")
    assert lab.setup.registered() == set(foreign) and not lab.world.machines


def test_a_broken_image_is_rolled_back_without_waiting_for_its_drain(lab: Lab) -> None:
    lab.run(V1, size=2)
    began = lab.world.clock.now()
    with pytest.raises(FleetError, match="was not healthy within 30 s"):
        lab.run(BROKEN, size=2, health_deadline=30.0, drain_timeout=900.0)
    assert lab.world.clock.now() - began < 100
    assert {each.instance.image for each in lab.world.machines.values()} == {V1}
    assert set(states(lab.traffic()).values()) == {("up", True)}


def test_a_host_that_dies_while_draining_delays_nothing(lab: Lab) -> None:
    """ELB shows it as draining for a quarter of an hour, but there is nothing left to wait for."""
    lab.run(V1, size=1)
    (old,) = lab.world.machines
    began, wait = lab.world.clock.now(), lab.world.clock.wait

    def crash_and_wait(seconds: float) -> None:
        if states(lab.traffic()).get(old) == ("drain", False) and old in lab.world.machines:
            lab.world.machines[old].crashes_at = lab.world.clock.now()
        wait(seconds)

    lab.world.clock.wait = crash_and_wait  # type: ignore[method-assign]
    lab.run(V2, size=1, drain_timeout=900.0)
    assert lab.world.clock.now() - began < 60
    assert lab.setup.changes().count("DeregisterTargets") == 1


def test_one_call_switches_a_whole_fleet(blue_green_lab: Lab) -> None:
    blue_green_lab.run(V1, size=3, strategy="blue_green", surge=3)
    old = blue_green_lab.setup.registered(1)
    assert blue_green_lab.setup.weights() == [0, 1] and len(old) == 3
    blue_green_lab.setup.cloud.proxy.forget()
    result = blue_green_lab.run(V2, size=3, strategy="blue_green", surge=3, drain_timeout=20.0)
    assert result["lowest_in_service"] == 3 and result["downtime"] == 0
    assert blue_green_lab.setup.weights() == [1, 0] and blue_green_lab.setup.changes() == [
        "RegisterTargets",
        "ModifyListener",
        "DeregisterTargets",
    ]
    assert blue_green_lab.setup.registered(1) == set() and blue_green_lab.setup.registered(0).isdisjoint(old)


def test_the_next_run_switches_back_what_something_else_undid(blue_green_lab: Lab) -> None:
    """A tool restores the weights that it knows, after the swap has emptied the group that they name."""
    blue_green_lab.run(V1, size=2, strategy="blue_green", surge=2)
    serving = blue_green_lab.setup.registered(1)
    blue_green_lab.setup.forward(1, 0)
    result = blue_green_lab.run(V1, size=2, strategy="blue_green", surge=2)
    assert blue_green_lab.setup.weights() == [0, 1] and blue_green_lab.setup.registered(1) == serving
    assert "undid the switch of an earlier swap" in result["timeline"][0]["event"]


def test_a_swap_waits_for_the_delay_of_the_group_unless_the_definition_sets_a_timeout(lab: Lab) -> None:
    lab.run(V1, size=1)
    lab.setup.elb.modify_target_group_attributes(
        TargetGroupArn=lab.setup.balancer.groups[0], Attributes=[{"Key": DELAY_ATTRIBUTE, "Value": "200"}]
    )
    for image, own, least, most in ((V2, True, 200, 240), (V1, False, 30, 80)):
        began = lab.world.clock.now()
        fleetlab.Lab.run(lab, replace(request(image, size=1), balancer_drains=own))
        assert least <= lab.world.clock.now() - began <= most
    assert lab.setup.delay() == "200"


def test_one_call_switches_back_to_a_kept_fleet(blue_green_lab: Lab) -> None:
    blue_green_lab.run(V1, size=3, strategy="blue_green", surge=3)
    old, wait = blue_green_lab.setup.registered(1), blue_green_lab.world.clock.wait

    def fail_and_wait(seconds: float) -> None:
        """Once the old fleet is out of service, the new one becomes unhealthy."""
        if blue_green_lab.setup.weights() == [1, 0]:
            assert blue_green_lab.setup.registered(1) == old
            for machine in blue_green_lab.world.machines.values():
                machine.never_healthy = machine.never_healthy or machine.instance.image == V2
        wait(seconds)

    blue_green_lab.world.clock.wait = fail_and_wait  # type: ignore[method-assign]
    blue_green_lab.setup.cloud.proxy.forget()
    with pytest.raises(FleetError, match="was stopped"):
        blue_green_lab.run(
            V2, size=3, strategy="blue_green", surge=3, keep_old=300.0, health_deadline=5.0, drain_timeout=20.0
        )
    assert blue_green_lab.setup.weights() == [0, 1] and blue_green_lab.setup.registered(1) == old
    assert blue_green_lab.setup.changes() == [
        "RegisterTargets",
        "ModifyListener",
        "ModifyListener",
        "DeregisterTargets",
    ]


@pytest.mark.parametrize("action", ["RegisterTargets", "ModifyListener", "DeregisterTargets"])
@pytest.mark.parametrize("effect", ["lost answer", "refused"])
def test_failed_calls_are_retried_and_counted_once(blue_green_lab: Lab, action: str, effect: str) -> None:
    blue_green_lab.run(V1, size=2, strategy="blue_green", surge=2)
    fault = blue_green_lab.setup.cloud.fault(
        drop_after if effect == "lost answer" else refuse(400, "OperationNotPermitted", "not now"), action=action
    )
    result = blue_green_lab.run(V2, size=2, strategy="blue_green", surge=2, drain_timeout=20.0)
    assert fault.met and result["lowest_in_service"] == 2 and blue_green_lab.setup.weights() == [1, 0]
    assert {each["image"] for each in result["instances"]} == {V2} and blue_green_lab.setup.registered(1) == set()
