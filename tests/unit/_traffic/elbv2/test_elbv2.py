# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Target groups as a balancer: single calls, and complete swaps of a simulated fleet under one virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Health, HttpProbe, TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.pace import every_second
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Member
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    Latencies,
    World,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.balancer import (
    DELAY_ATTRIBUTE,
    TargetGroups,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.target_groups import with_weights_swapped
from ansible_collections.immutable.infra.tests.support import fleetlab
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.faults import denied, drop_after, refuse
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, FLEET, V1, V2, absent, request

HTTP = Health(http=HttpProbe(8080, "/healthz"))


class Stage:
    """A balancer with one or two target groups, instances, and a clock that a test sets."""

    def __init__(self, cloud: Cloud, groups: int = 1) -> None:
        self.cloud, self.at = cloud, 100.0
        self.net = seeds.network(cloud)
        self.balancer = seeds.balancer(cloud, self.net, groups)
        self.elb = cloud.boto("elbv2")
        self.rule = self.balancer.listener if groups > 1 else ""
        cloud.set(now=lambda: self.at, drain=1.0)

    def traffic(self, rule: str = "") -> TargetGroups:
        """The balancer as a new process opens it."""
        spec = TrafficSpec(target_groups=self.balancer.groups, rule=rule or self.rule)
        return TargetGroups(Clients(self.cloud.account()), FLEET, spec, HTTP, now=lambda: self.at)

    def run(self, count: int) -> dict[str, tuple[str, int]]:
        ami = seeds.image(self.cloud, f"shop-{self.cloud.count()}-{self.at}")
        parameters = {
            "ImageId": ami,
            "MinCount": count,
            "MaxCount": count,
            "InstanceType": "t3.micro",
            "SubnetId": self.net.subnets[0],
        }
        self.at += 1
        return {
            each["InstanceId"]: ("10.9.0.9", 8080)
            for each in self.cloud.boto("ec2", proxied=True).run_instances(**parameters)["Instances"]
        }

    def weights(self) -> list[int]:
        action = self.elb.describe_listeners(ListenerArns=[self.balancer.listener])["Listeners"][0]["DefaultActions"][0]
        return [each["Weight"] for each in action["ForwardConfig"]["TargetGroups"]]

    def registered(self, group: int = 0) -> set[str]:
        return {
            each["Target"]["Id"]
            for each in self.elb.describe_target_health(TargetGroupArn=self.balancer.groups[group])[
                "TargetHealthDescriptions"
            ]
        }

    def changes(self) -> list[str]:
        return [each.action for each in self.cloud.calls("elasticloadbalancing", changing=True)]


@pytest.fixture
def stage(cloud: Cloud) -> Stage:
    return Stage(cloud)


@pytest.fixture
def pair(cloud: Cloud) -> Stage:
    return Stage(cloud, 2)


def states(traffic: TargetGroups) -> dict[str, tuple[str, bool]]:
    return {each.id: (each.state, each.passing) for each in traffic.members()}


def test_a_member_is_checked_then_serves_then_drains_then_is_forgotten(stage: Stage) -> None:
    stage.cloud.set(health=10)
    traffic, new = stage.traffic(), stage.run(2)
    (one, two) = new
    assert traffic.members() == [] and traffic.ensure() is False
    traffic.register(new)
    began = stage.at
    assert set(traffic.members()) == {Member(each, "down", None, began) for each in new}
    stage.at += 10
    assert set(traffic.members()) == {
        Member(id=each, state="up", in_flight=None, since=stage.at, passing=True) for each in new
    }
    stage.at += 5
    traffic.drain([one], 20)
    described = stage.at
    stage.at += 19
    assert Member(one, "drain", None, described, leaving=True) in traffic.members()
    stage.at += 1
    assert [each.id for each in traffic.members()] == [two]
    assert stage.changes() == ["RegisterTargets", "ModifyTargetGroupAttributes", "DeregisterTargets"]


def test_the_delay_is_read_once_and_changed_only_if_it_differs(stage: Stage) -> None:
    traffic, new = stage.traffic(), stage.run(3)
    traffic.register(new)
    for each in new:
        traffic.drain([each], 29.5)
    attributes = stage.elb.describe_target_group_attributes(TargetGroupArn=stage.balancer.groups[0])["Attributes"]
    assert {each["Key"]: each["Value"] for each in attributes}[DELAY_ATTRIBUTE] == "30"
    assert (
        stage.cloud.count(action="ModifyTargetGroupAttributes")
        == stage.cloud.count(action="DescribeTargetGroupAttributes")
        == 1
    )
    other = stage.traffic()
    other.register(dict(list(new.items())[:1]))
    other.drain(list(new), 30)
    assert stage.cloud.count(action="ModifyTargetGroupAttributes") == 1


def test_a_drain_longer_than_elb_allows_is_refused(stage: Stage) -> None:
    traffic, new = stage.traffic(), stage.run(1)
    traffic.register(new)
    with pytest.raises(
        TrafficError, match=r"ELB lets no target drain for 3601 s \(allowed: a drain timeout from 0 to 3600 s\)"
    ):
        traffic.drain(list(new), 3601)
    assert states(traffic) == dict.fromkeys(new, ("up", True))


def test_repeated_calls_change_nothing_more(stage: Stage) -> None:
    traffic, new = stage.traffic(), stage.run(2)
    (one, two) = new
    for _each in range(2):
        traffic.register(new)
    for _each in range(2):
        traffic.drain([one, "i-0123456789abcdef0"], 30)
    for _each in range(2):
        traffic.deregister([one, two])
    assert stage.changes() == [
        "RegisterTargets",
        "ModifyTargetGroupAttributes",
        "DeregisterTargets",
        "DeregisterTargets",
    ]
    assert [each.leaving for each in traffic.members()] == [True, True]
    traffic.remove()
    stage.traffic().deregister([one, two])
    assert len(stage.changes()) == 4


def test_a_draining_member_can_return_to_service(stage: Stage) -> None:
    traffic, new = stage.traffic(), stage.run(1)
    traffic.register(new)
    traffic.drain(list(new), 30)
    assert states(traffic) == dict.fromkeys(new, ("drain", False))
    traffic.register(new)
    assert states(traffic) == dict.fromkeys(new, ("up", True))
    assert states(stage.traffic()) == dict.fromkeys(new, ("up", True))


def test_failing_checks_and_targets_that_are_not_used_are_down(stage: Stage) -> None:
    traffic, new = stage.traffic(), stage.run(2)
    (one, two) = new
    stage.cloud.set(healthy=lambda target, _group: target == one)
    traffic.register(new)
    assert states(traffic) == {one: ("up", True), two: ("down", False)}
    assert traffic.describe()["warnings"] == []
    created = stage.elb.create_target_group(
        Name="odd", Protocol="HTTP", Port=80, VpcId=stage.net.vpc, TargetType="instance"
    )["TargetGroups"][0]
    odd = TargetGroups(
        Clients(stage.cloud.account()), FLEET, TrafficSpec(target_groups=(created["TargetGroupArn"],)), HTTP
    )
    odd.register(new)
    assert states(odd) == dict.fromkeys(new, ("down", False))
    (line,) = odd.describe()["warnings"]
    assert line.startswith(f"{', '.join(sorted(new))} gets neither checks nor requests: no listener forwards")


def test_members_of_others_in_a_group_are_left_alone(stage: Stage) -> None:
    own, foreign = stage.run(1), stage.run(1)
    stage.elb.register_targets(
        TargetGroupArn=stage.balancer.groups[0], Targets=[{"Id": each, "Port": 8080} for each in foreign]
    )
    traffic = stage.traffic()
    traffic.register(own)
    traffic.deregister(list(own))
    traffic.remove()
    assert traffic.shared and stage.registered() == set(foreign)


def test_a_whole_wave_is_one_call(stage: Stage) -> None:
    traffic, new = stage.traffic(), {f"host-{number}": ("10.9.0.9", 8080) for number in range(100)}
    traffic.register(new)
    traffic.drain(list(new), 30)
    traffic.drain(list(new), 30)
    assert stage.changes() == ["RegisterTargets", "ModifyTargetGroupAttributes", "DeregisterTargets"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"TargetType": "ip"}, r"target group odd has targets of the type ip \(allowed: instance\)"),
        ({"Protocol": "UDP"}, r"target group odd has protocol UDP \(allowed: HTTP, HTTPS, TCP, TLS\)"),
        (
            {},
            r"target group odd is used by no load balancer, so it is never checked "
            r"\(needed: a listener that forwards to it\)",
        ),
    ],
)
def test_an_unfit_group_is_refused(stage: Stage, change: dict[str, str], why: str) -> None:
    created = stage.elb.create_target_group(
        **{"Name": "odd", "Protocol": "HTTP", "Port": 80, "VpcId": stage.net.vpc, "TargetType": "instance", **change}
    )
    traffic = TargetGroups(
        Clients(stage.cloud.account()),
        FLEET,
        TrafficSpec(target_groups=(created["TargetGroups"][0]["TargetGroupArn"],)),
        HTTP,
    )
    with pytest.raises(TrafficError, match=why):
        traffic.ensure()


def test_a_missing_group_is_an_error(stage: Stage) -> None:
    arn = stage.balancer.groups[0].replace("shop-0", "gone")
    with pytest.raises(
        TrafficError, match=rf"target groups of {FLEET}: AWS refused DescribeTargetGroups: .*\(TargetGroupNotFound\)"
    ):
        TargetGroups(Clients(stage.cloud.account()), FLEET, TrafficSpec(target_groups=(arn,)), HTTP).ensure()


def test_a_rule_that_cannot_switch_is_refused(pair: Stage) -> None:
    only = [{"Type": "forward", "TargetGroupArn": pair.balancer.groups[0]}]
    both = [
        {
            "Type": "forward",
            "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": 1} for arn in pair.balancer.groups]},
        }
    ]
    new = pair.run(1)
    pair.elb.modify_listener(ListenerArn=pair.balancer.listener, DefaultActions=only)
    with pytest.raises(
        TrafficError, match=r"does not forward to both shop-0 and shop-1 \(needed: one forward action that names both\)"
    ):
        pair.traffic().members()
    pair.elb.modify_listener(ListenerArn=pair.balancer.listener, DefaultActions=both)
    with pytest.raises(
        TrafficError,
        match=r"forwards with the weights 1 to shop-0 and 1 to shop-1 \(allowed: 0 for exactly one of them\)",
    ):
        pair.traffic().register(new, staged=True)


def test_one_group_stages_nothing(stage: Stage) -> None:
    with pytest.raises(TrafficError, match=r"one target group cannot hold members that get no requests yet"):
        stage.traffic().register(stage.run(1), staged=True)


def test_a_switch_is_one_call_and_so_is_its_rollback(pair: Stage) -> None:
    traffic, old, new = pair.traffic(), pair.run(2), pair.run(2)
    traffic.register(old)
    traffic.register(new, staged=True)
    assert (pair.registered(0), pair.registered(1)) == (set(old), set(new))
    assert states(traffic) == {**dict.fromkeys(old, ("up", True)), **dict.fromkeys(new, ("drain", True))}
    before = len(pair.changes())
    for _each in range(2):
        traffic.switch(list(new), list(old))
    assert pair.changes()[before:] == ["ModifyListener"] and pair.weights() == [0, 1]
    assert states(traffic) == {**dict.fromkeys(old, ("drain", True)), **dict.fromkeys(new, ("up", True))}
    pair.traffic().switch(list(old), list(new))
    assert pair.changes()[before:] == ["ModifyListener"] * 2 and pair.weights() == [1, 0]
    assert states(traffic) == {**dict.fromkeys(old, ("up", True)), **dict.fromkeys(new, ("drain", True))}
    traffic.drain(list(new), 30)  # they already get no requests
    assert len(pair.changes()) == before + 2


def test_a_switch_keeps_the_other_settings_of_the_rule(pair: Stage) -> None:
    forward: dict[str, Any] = {
        "TargetGroups": [
            {"TargetGroupArn": arn, "Weight": weight}
            for arn, weight in zip(pair.balancer.groups, (0, 100), strict=True)
        ],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }
    created = pair.elb.create_rule(
        ListenerArn=pair.balancer.listener,
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/shop/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": forward}],
    )["Rules"][0]
    traffic, old, new = pair.traffic(created["RuleArn"]), pair.run(1), pair.run(1)
    traffic.ensure()
    traffic.register(old)
    traffic.register(new, staged=True)
    traffic.switch(list(new), list(old))
    rule = pair.elb.describe_rules(RuleArns=[created["RuleArn"]])["Rules"][0]
    config = rule["Actions"][0]["ForwardConfig"]
    assert {each["TargetGroupArn"]: each["Weight"] for each in config["TargetGroups"]} == dict(
        zip(pair.balancer.groups, (100, 0), strict=True)
    )
    assert config["TargetGroupStickinessConfig"] == forward["TargetGroupStickinessConfig"] and pair.weights() == [1, 0]
    assert traffic.describe()["endpoint"] == f"http://{pair.balancer.dns}"


def test_other_members_of_the_idle_group_are_not_put_in_service(pair: Stage) -> None:
    traffic, old, left, new = pair.traffic(), pair.run(1), pair.run(1), pair.run(1)
    traffic.register(old)
    traffic.register({**left, **new}, staged=True)
    traffic.switch(list(new), list(old))
    found = {each.id: each for each in traffic.members()}
    assert pair.weights() == [0, 1]
    assert {each for each in found if found[each].state == "up"} == set(new) and found[next(iter(left))].leaving


def test_a_member_that_stays_in_service_is_not_switched_off(pair: Stage) -> None:
    pair.cloud.set(health=10)
    traffic, old, stays, new = pair.traffic(), pair.run(1), pair.run(1), pair.run(1)
    traffic.register({**old, **stays})
    traffic.register(new, staged=True)
    pair.at += 10
    traffic.switch(list(new), list(old))
    assert pair.weights() == [1, 0] and states(traffic) == {
        **dict.fromkeys([*old, *stays], ("up", True)),
        **dict.fromkeys(new, ("down", False)),
    }
    pair.at += 10
    traffic.switch(list(new), list(old))
    assert states(traffic) == {**dict.fromkeys(old, ("drain", False)), **dict.fromkeys([*stays, *new], ("up", True))}
    with pytest.raises(TrafficError, match="i-0123456789abcdef0 cannot be put in service"):
        traffic.switch(["i-0123456789abcdef0"], [])


def test_the_endpoint_is_read_once_and_its_failure_is_only_a_warning(stage: Stage) -> None:
    traffic = stage.traffic()
    assert [traffic.describe() for _each in range(2)][1] == {
        "kind": "elbv2",
        "endpoint": f"http://{stage.balancer.dns}",
        "target_groups": list(stage.balancer.groups),
        "warnings": [],
    }
    assert stage.cloud.count() == 3
    stage.cloud.fault(denied, action="DescribeLoadBalancers", times=0)
    described = stage.traffic().describe()
    assert described["endpoint"] is None and "AWS refused DescribeLoadBalancers" in described["warnings"][0]


class Lab(fleetlab.Lab):
    """A simulated fleet behind target groups. The simulated machine decides whether a target is healthy."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(World(Latencies(boot=8.0, health=1.0)))
        self.stage = stage
        self.pace = every_second
        self.provider.traffic = lambda _fleet: self.traffic()  # type: ignore[method-assign,return-value,assignment]
        stage.cloud.set(now=self.world.clock.now, drain=1.0, health=3, healthy=self._healthy)

    def traffic(self) -> TargetGroups:
        spec = TrafficSpec(target_groups=self.stage.balancer.groups, rule=self.stage.rule)
        return TargetGroups(Clients(self.stage.cloud.account()), FLEET, spec, HTTP, now=self.world.clock.now)

    def run(self, image: str, **changes: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().run(request(image, **changes) if image else absent())

    def _healthy(self, target: str, _group: str) -> bool:
        return target in self.world.machines and self.world.healthy(self.world.machines[target])


@pytest.fixture
def lab(stage: Stage) -> Lab:
    return Lab(stage)


@pytest.fixture
def flips(pair: Stage) -> Lab:
    return Lab(pair)


def test_a_rolling_swap_behind_one_group(lab: Lab) -> None:
    lab.run(V1, size=4)
    lab.stage.cloud.proxy.forget()
    began = lab.world.clock.now()
    result = lab.run(V2, size=4, surge=2, drain_timeout=20.0)
    assert result["lowest_in_service"] == 4 and {each["image"] for each in result["instances"]} == {V2}
    assert lab.stage.changes() == [
        "RegisterTargets",
        "ModifyTargetGroupAttributes",
        "DeregisterTargets",
        "RegisterTargets",
        "DeregisterTargets",
    ]
    # Two waves of boot, health, checks and drain, each observed within a second.
    assert lab.world.clock.now() - began <= 2 * (8 + 1 + 3 + 20) + 2 * 4
    lab.stage.cloud.proxy.forget()
    assert lab.run(V2, size=4, surge=2, drain_timeout=20.0)["changed"] is False
    assert lab.stage.changes() == [] and lab.stage.cloud.count(action="DescribeTargetHealth") == 1


def test_a_removed_fleet_leaves_the_group_unchanged(lab: Lab) -> None:
    lab.run(V1, size=2)
    foreign = lab.stage.run(1)
    lab.stage.elb.register_targets(
        TargetGroupArn=lab.stage.balancer.groups[0], Targets=[{"Id": each, "Port": 8080} for each in foreign]
    )
    lab.run("")
    assert lab.stage.registered() == set(foreign) and not lab.world.machines


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

    def dies(seconds: float) -> None:
        if states(lab.traffic()).get(old) == ("drain", False) and old in lab.world.machines:
            lab.world.machines[old].crashes_at = lab.world.clock.now()
        wait(seconds)

    lab.world.clock.wait = dies  # type: ignore[method-assign]
    lab.run(V2, size=1, drain_timeout=900.0)
    assert lab.world.clock.now() - began < 60
    assert lab.stage.changes().count("DeregisterTargets") == 1


def test_one_call_switches_a_whole_fleet(flips: Lab) -> None:
    flips.run(V1, size=3, strategy="blue_green", surge=3)
    old = flips.stage.registered(1)
    assert flips.stage.weights() == [0, 1] and len(old) == 3
    flips.stage.cloud.proxy.forget()
    result = flips.run(V2, size=3, strategy="blue_green", surge=3, drain_timeout=20.0)
    assert result["lowest_in_service"] == 3 and result["downtime"] == 0
    assert flips.stage.weights() == [1, 0] and flips.stage.changes() == [
        "RegisterTargets",
        "ModifyListener",
        "DeregisterTargets",
    ]
    assert flips.stage.registered(1) == set() and flips.stage.registered(0).isdisjoint(old)


def test_one_call_switches_back_to_a_kept_fleet(flips: Lab) -> None:
    flips.run(V1, size=3, strategy="blue_green", surge=3)
    old, wait = flips.stage.registered(1), flips.world.clock.wait

    def ails(seconds: float) -> None:
        """Once the old fleet is out of service, the new one becomes unhealthy."""
        if flips.stage.weights() == [1, 0]:
            assert flips.stage.registered(1) == old
            for machine in flips.world.machines.values():
                machine.never_healthy = machine.never_healthy or machine.instance.image == V2
        wait(seconds)

    flips.world.clock.wait = ails  # type: ignore[method-assign]
    flips.stage.cloud.proxy.forget()
    with pytest.raises(FleetError, match="was stopped"):
        flips.run(V2, size=3, strategy="blue_green", surge=3, keep_old=300.0, health_deadline=5.0, drain_timeout=20.0)
    assert flips.stage.weights() == [0, 1] and flips.stage.registered(1) == old
    assert flips.stage.changes() == ["RegisterTargets", "ModifyListener", "ModifyListener", "DeregisterTargets"]


@pytest.mark.parametrize("action", ["RegisterTargets", "ModifyListener", "DeregisterTargets"])
@pytest.mark.parametrize("effect", ["lost answer", "refused"])
def test_failed_calls_are_retried_and_counted_once(flips: Lab, action: str, effect: str) -> None:
    flips.run(V1, size=2, strategy="blue_green", surge=2)
    met = flips.stage.cloud.fault(
        drop_after if effect == "lost answer" else refuse(400, "OperationNotPermitted", "not now"), action=action
    )
    result = flips.run(V2, size=2, strategy="blue_green", surge=2, drain_timeout=20.0)
    assert met.met and result["lowest_in_service"] == 2 and flips.stage.weights() == [1, 0]
    assert {each["image"] for each in result["instances"]} == {V2} and flips.stage.registered(1) == set()


def test_a_switch_keeps_an_authentication_whose_secret_aws_does_not_return() -> None:
    forward = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": "old", "Weight": 1}, {"TargetGroupArn": "new", "Weight": 0}]
        },
    }
    by_oidc = {
        "Type": "authenticate-oidc",
        "Order": 1,
        "AuthenticateOidcConfig": {"Issuer": "https://login.test", "ClientId": "shop"},
    }
    by_cognito = {"Type": "authenticate-cognito", "Order": 1, "AuthenticateCognitoConfig": {"UserPoolClientId": "shop"}}
    first, second, _third = with_weights_swapped([by_oidc, by_cognito, forward], ("old", "new"))
    assert first == {
        **by_oidc,
        "AuthenticateOidcConfig": {"Issuer": "https://login.test", "ClientId": "shop", "UseExistingClientSecret": True},
    }
    assert second == by_cognito
