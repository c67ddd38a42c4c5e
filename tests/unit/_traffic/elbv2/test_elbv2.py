# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Target groups as a balancer: single calls."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Member
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.balancer import TargetGroups
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.target_groups import with_weights_swapped
from ansible_collections.immutable.infra.tests.support.aws.faults import denied
from ansible_collections.immutable.infra.tests.support.aws.target_groups import HTTP, TargetGroupSetup, states
from ansible_collections.immutable.infra.tests.support.fleetlab import FLEET


def test_a_member_is_checked_then_serves_then_drains_then_is_forgotten(one_group: TargetGroupSetup) -> None:
    one_group.cloud.set(health=10)
    traffic, new = one_group.traffic(), one_group.launch(2)
    (one, two) = new
    assert traffic.members() == [] and traffic.ensure() is False
    traffic.register(new)
    began = one_group.at
    assert set(traffic.members()) == {Member(each, "down", None, began) for each in new}
    one_group.at += 10
    assert set(traffic.members()) == {
        Member(id=each, state="up", in_flight=None, since=one_group.at, passing=True) for each in new
    }
    one_group.at += 5
    traffic.drain([one], 20)
    described = one_group.at
    one_group.at += 19
    assert Member(one, "drain", None, described, leaving=True) in traffic.members()
    one_group.at += 1
    assert [each.id for each in traffic.members()] == [two]
    assert one_group.changes() == ["RegisterTargets", "DeregisterTargets"]


def test_a_group_keeps_its_own_delay(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), one_group.launch(3)
    traffic.register(new)
    assert traffic.drain_time() == 20
    for each in new:
        traffic.drain([each], 10)
    assert one_group.delay() == "20" and "ModifyTargetGroupAttributes" not in one_group.changes()
    assert one_group.cloud.count(action="DescribeTargetGroupAttributes") == 1 and not traffic.describe()["warnings"]


def test_a_delay_that_is_shorter_than_the_drain_timeout_is_a_warning(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), one_group.launch(1)
    traffic.register(new)
    traffic.drain(list(new), 90)
    assert traffic.describe()["warnings"] == [
        "target group shop-0 ends the connections of a drained instance after 20 s, before fleet.drain.timeout of 90 s "
        "(needed: a longer delay of the group)"
    ]


def test_a_delay_that_the_definition_sets_is_changed_only_if_it_differs(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(delay=45.0), one_group.launch(2)
    traffic.register(new)
    assert traffic.drain_time() == 45
    for each in new:
        traffic.drain([each], 45)
    other = one_group.traffic(delay=45.0)
    other.register(new)
    other.drain(list(new), 45)
    assert one_group.delay() == "45" and one_group.cloud.count(action="ModifyTargetGroupAttributes") == 1


def test_repeated_calls_change_nothing_more(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), one_group.launch(2)
    (one, two) = new
    for _each in range(2):
        traffic.register(new)
    for _each in range(2):
        traffic.drain([one, "i-0123456789abcdef0"], 30)
    for _each in range(2):
        traffic.deregister([one, two])
    assert one_group.changes() == [
        "RegisterTargets",
        "DeregisterTargets",
        "DeregisterTargets",
    ]
    assert [each.leaving for each in traffic.members()] == [True, True]
    traffic.remove()
    one_group.traffic().deregister([one, two])
    assert len(one_group.changes()) == 3


def test_a_draining_member_can_return_to_service(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), one_group.launch(1)
    traffic.register(new)
    traffic.drain(list(new), 30)
    assert states(traffic) == dict.fromkeys(new, ("drain", False))
    traffic.register(new)
    assert states(traffic) == dict.fromkeys(new, ("up", True))
    assert states(one_group.traffic()) == dict.fromkeys(new, ("up", True))


def test_failing_checks_and_targets_that_are_not_used_are_down(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), one_group.launch(2)
    (one, two) = new
    one_group.cloud.set(healthy=lambda target, _group: target == one)
    traffic.register(new)
    assert states(traffic) == {one: ("up", True), two: ("down", False)}
    assert traffic.describe()["warnings"] == []
    created = one_group.elb.create_target_group(
        Name="odd", Protocol="HTTP", Port=80, VpcId=one_group.net.vpc, TargetType="instance"
    )["TargetGroups"][0]
    odd = TargetGroups(
        Clients(one_group.cloud.account()), FLEET, TrafficSpec(target_groups=(created["TargetGroupArn"],)), HTTP
    )
    odd.register(new)
    assert states(odd) == dict.fromkeys(new, ("down", False))
    (line,) = odd.describe()["warnings"]
    assert line.startswith(f"{', '.join(sorted(new))} gets neither checks nor requests: no listener forwards")


def test_members_of_others_in_a_group_are_left_alone(one_group: TargetGroupSetup) -> None:
    own, foreign = one_group.launch(1), one_group.launch(1)
    one_group.elb.register_targets(
        TargetGroupArn=one_group.balancer.groups[0], Targets=[{"Id": each, "Port": 8080} for each in foreign]
    )
    traffic = one_group.traffic()
    traffic.register(own)
    traffic.deregister(list(own))
    traffic.remove()
    assert traffic.shared and one_group.registered() == set(foreign)


def test_a_whole_wave_is_one_call(one_group: TargetGroupSetup) -> None:
    traffic, new = one_group.traffic(), {f"host-{number}": ("10.9.0.9", 8080) for number in range(100)}
    traffic.register(new)
    traffic.drain(list(new), 30)
    traffic.drain(list(new), 30)
    assert one_group.changes() == ["RegisterTargets", "DeregisterTargets"]


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
def test_an_unfit_group_is_refused(one_group: TargetGroupSetup, change: dict[str, str], why: str) -> None:
    created = one_group.elb.create_target_group(
        **{
            "Name": "odd",
            "Protocol": "HTTP",
            "Port": 80,
            "VpcId": one_group.net.vpc,
            "TargetType": "instance",
            **change,
        }
    )
    traffic = TargetGroups(
        Clients(one_group.cloud.account()),
        FLEET,
        TrafficSpec(target_groups=(created["TargetGroups"][0]["TargetGroupArn"],)),
        HTTP,
    )
    with pytest.raises(TrafficError, match=why):
        traffic.ensure()


def test_a_missing_group_is_an_error(one_group: TargetGroupSetup) -> None:
    arn = one_group.balancer.groups[0].replace("shop-0", "gone")
    with pytest.raises(
        TrafficError, match=rf"target groups of {FLEET}: AWS refused DescribeTargetGroups: .*\(TargetGroupNotFound\)"
    ):
        TargetGroups(Clients(one_group.cloud.account()), FLEET, TrafficSpec(target_groups=(arn,)), HTTP).ensure()


def test_a_rule_that_cannot_switch_is_refused(two_groups: TargetGroupSetup) -> None:
    only = [{"Type": "forward", "TargetGroupArn": two_groups.balancer.groups[0]}]
    both = [
        {
            "Type": "forward",
            "ForwardConfig": {
                "TargetGroups": [{"TargetGroupArn": arn, "Weight": 1} for arn in two_groups.balancer.groups]
            },
        }
    ]
    new = two_groups.launch(1)
    two_groups.elb.modify_listener(ListenerArn=two_groups.balancer.listener, DefaultActions=only)
    with pytest.raises(
        TrafficError, match=r"does not forward to both shop-0 and shop-1 \(needed: one forward action that names both\)"
    ):
        two_groups.traffic().members()
    two_groups.elb.modify_listener(ListenerArn=two_groups.balancer.listener, DefaultActions=both)
    with pytest.raises(
        TrafficError,
        match=r"forwards with the weights 1 to shop-0 and 1 to shop-1 \(allowed: 0 for exactly one of them\)",
    ):
        two_groups.traffic().register(new, staged=True)


def test_one_group_stages_nothing(one_group: TargetGroupSetup) -> None:
    with pytest.raises(TrafficError, match=r"one target group cannot hold members that get no requests yet"):
        one_group.traffic().register(one_group.launch(1), staged=True)


def test_a_switch_is_one_call_and_so_is_its_rollback(two_groups: TargetGroupSetup) -> None:
    traffic, old, new = two_groups.traffic(), two_groups.launch(2), two_groups.launch(2)
    traffic.register(old)
    traffic.register(new, staged=True)
    assert (two_groups.registered(0), two_groups.registered(1)) == (set(old), set(new))
    assert states(traffic) == {**dict.fromkeys(old, ("up", True)), **dict.fromkeys(new, ("drain", True))}
    before = len(two_groups.changes())
    for _each in range(2):
        traffic.switch(list(new), list(old))
    assert two_groups.changes()[before:] == ["ModifyListener"] and two_groups.weights() == [0, 1]
    assert states(traffic) == {**dict.fromkeys(old, ("drain", True)), **dict.fromkeys(new, ("up", True))}
    traffic = two_groups.traffic()  # of another run
    traffic.switch(list(old), list(new))
    assert two_groups.changes()[before:] == ["ModifyListener"] * 2 and two_groups.weights() == [1, 0]
    assert states(traffic) == {**dict.fromkeys(old, ("up", True)), **dict.fromkeys(new, ("drain", True))}
    traffic.drain(list(new), 30)  # they already get no requests
    assert len(two_groups.changes()) == before + 2


def test_a_switch_that_something_else_undid_ends_the_swap_and_empties_nothing(two_groups: TargetGroupSetup) -> None:
    traffic, old, new = two_groups.traffic(), two_groups.launch(1), two_groups.launch(1)
    traffic.register(old)
    traffic.register(new, staged=True)
    traffic.switch(list(new), list(old))
    traffic.members()
    two_groups.forward(1, 0)
    before = two_groups.changes()
    two_groups.at += 3
    with pytest.raises(
        TrafficError, match=r"forwards to shop-0 again: .* undid this swap's switch to shop-1"
    ) as caught:
        traffic.deregister(list(old))
    assert caught.value.permanent and two_groups.changes() == before and two_groups.registered(0) == set(old)
    with pytest.raises(TrafficError, match="undid this swap's switch"):
        traffic.members()


def test_a_group_that_gets_requests_since_the_last_look_is_not_emptied(two_groups: TargetGroupSetup) -> None:
    traffic, old, new = two_groups.traffic(), two_groups.launch(1), two_groups.launch(1)
    traffic.register(old)
    traffic.register(new, staged=True)
    traffic.members()
    two_groups.forward(0, 1)
    two_groups.at += 3
    with pytest.raises(TrafficError, match="forwards to another target group than a moment ago"):
        traffic.deregister(list(new))
    assert two_groups.registered(1) == set(new)


def test_a_switch_keeps_the_other_settings_of_the_rule(two_groups: TargetGroupSetup) -> None:
    forward: dict[str, Any] = {
        "TargetGroups": [
            {"TargetGroupArn": arn, "Weight": weight}
            for arn, weight in zip(two_groups.balancer.groups, (0, 100), strict=True)
        ],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }
    created = two_groups.elb.create_rule(
        ListenerArn=two_groups.balancer.listener,
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/shop/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": forward}],
    )["Rules"][0]
    traffic, old, new = two_groups.traffic(created["RuleArn"]), two_groups.launch(1), two_groups.launch(1)
    traffic.ensure()
    traffic.register(old)
    traffic.register(new, staged=True)
    traffic.switch(list(new), list(old))
    rule = two_groups.elb.describe_rules(RuleArns=[created["RuleArn"]])["Rules"][0]
    config = rule["Actions"][0]["ForwardConfig"]
    assert {each["TargetGroupArn"]: each["Weight"] for each in config["TargetGroups"]} == dict(
        zip(two_groups.balancer.groups, (100, 0), strict=True)
    )
    assert config["TargetGroupStickinessConfig"] == forward["TargetGroupStickinessConfig"] and two_groups.weights() == [
        1,
        0,
    ]
    assert traffic.describe()["endpoint"] == f"http://{two_groups.balancer.dns}"


def test_other_members_of_the_idle_group_are_not_put_in_service(two_groups: TargetGroupSetup) -> None:
    traffic, old, left, new = two_groups.traffic(), two_groups.launch(1), two_groups.launch(1), two_groups.launch(1)
    traffic.register(old)
    traffic.register({**left, **new}, staged=True)
    traffic.switch(list(new), list(old))
    found = {each.id: each for each in traffic.members()}
    assert two_groups.weights() == [0, 1]
    assert {each for each in found if found[each].state == "up"} == set(new) and found[next(iter(left))].leaving


def test_a_member_that_stays_in_service_is_not_switched_off(two_groups: TargetGroupSetup) -> None:
    two_groups.cloud.set(health=10)
    traffic, old, stays, new = two_groups.traffic(), two_groups.launch(1), two_groups.launch(1), two_groups.launch(1)
    traffic.register({**old, **stays})
    traffic.register(new, staged=True)
    two_groups.at += 10
    traffic.switch(list(new), list(old))
    assert two_groups.weights() == [1, 0] and states(traffic) == {
        **dict.fromkeys([*old, *stays], ("up", True)),
        **dict.fromkeys(new, ("down", False)),
    }
    two_groups.at += 10
    traffic.switch(list(new), list(old))
    assert states(traffic) == {**dict.fromkeys(old, ("drain", False)), **dict.fromkeys([*stays, *new], ("up", True))}
    with pytest.raises(TrafficError, match="i-0123456789abcdef0 cannot be put in service"):
        traffic.switch(["i-0123456789abcdef0"], [])


def test_the_endpoint_is_read_once_and_its_failure_is_only_a_warning(one_group: TargetGroupSetup) -> None:
    traffic = one_group.traffic()
    assert [traffic.describe() for _each in range(2)][1] == {
        "kind": "elbv2",
        "endpoint": f"http://{one_group.balancer.dns}",
        "target_groups": list(one_group.balancer.groups),
        "warnings": [],
    }
    assert one_group.cloud.count() == 3
    one_group.cloud.fault(denied, action="DescribeLoadBalancers", times=0)
    described = one_group.traffic().describe()
    assert described["endpoint"] is None and "AWS refused DescribeLoadBalancers" in described["warnings"][0]


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
