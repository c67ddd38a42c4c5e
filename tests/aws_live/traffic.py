# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of target groups, with a Network Load Balancer that exists for a few minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .instances import instance
from .live import MARK, Live, equal, refused

REGISTRATION = 180.0  # seconds that a swap allows for
MISSING = "i-0123456789abcdef0"
PORT = 22


def network_balancer(live: Live) -> Iterator[str]:
    """A target is initial while a Network Load Balancer registers it, at most as long as a swap allows for."""
    elb, ec2 = live.client("elbv2"), live.client("ec2")
    vpc = ec2.describe_subnets(SubnetIds=[live.subnet])["Subnets"][0]["VpcId"]
    group = _balanced_group(live, elb, vpc)
    yield refused(elb.register_targets, "InvalidTarget", TargetGroupArn=group, Targets=[{"Id": MISSING}])
    one = instance(live, f"{live.run}-balancer")
    live.wait("instance_running", {"instance-id": one})
    target = [{"Id": one}]
    elb.register_targets(TargetGroupArn=group, Targets=target)
    live.afterwards(lambda: elb.deregister_targets(TargetGroupArn=group, Targets=target))
    began = time.monotonic()
    yield equal("the state after a registration", _state(elb, group, target), "initial")
    live.until(lambda state: state != "initial", lambda: _state(elb, group, target))
    took = time.monotonic() - began
    yield equal(f"a registration that took {took:.0f} s is within {REGISTRATION:.0f} s", took <= REGISTRATION, True)


def _balanced_group(live: Live, elb: Any, vpc: str) -> str:
    """The ARN of a new target group of a new load balancer. Both are deleted after the check."""
    tags = [{"Key": MARK, "Value": live.run}]
    name = f"{MARK}-{live.run}"[:32].rstrip("-")
    made = elb.create_target_group(
        Name=name, Protocol="TCP", Port=PORT, VpcId=vpc, TargetType="instance", HealthCheckIntervalSeconds=10, Tags=tags
    )
    group = str(made["TargetGroups"][0]["TargetGroupArn"])
    live.afterwards(lambda: elb.delete_target_group(TargetGroupArn=group))
    made = elb.create_load_balancer(Name=name, Type="network", Scheme="internal", Subnets=[live.subnet], Tags=tags)
    balancer = str(made["LoadBalancers"][0]["LoadBalancerArn"])
    live.afterwards(lambda: elb.delete_load_balancer(LoadBalancerArn=balancer))
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    elb.create_listener(LoadBalancerArn=balancer, Protocol="TCP", Port=PORT, DefaultActions=forward)
    return group


def _state(elb: Any, group: str, target: list[dict[str, str]]) -> str:
    found = elb.describe_target_health(TargetGroupArn=group, Targets=target)["TargetHealthDescriptions"]
    return str(found[0]["TargetHealth"]["State"])
