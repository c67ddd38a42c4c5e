# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Target groups in the fake AWS, for tests of the balancer.

A conftest imports the fixtures and lists them in its ``__all__``.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.balancer import (
    DELAY_ATTRIBUTE,
    TargetGroups,
)

from ..fleetlab import FLEET
from . import seeds
from .server import Cloud

HTTP = Health(http=HttpProbe(8080, "/healthz"))


class TargetGroupSetup:
    """A load balancer with one or two target groups in the fake AWS, and a clock that a test sets.

    Attributes:
        at: the clock's time in seconds.
        rule: the ARN of the listener that forwards to both groups. Empty for one group.
    """

    def __init__(self, cloud: Cloud, groups: int = 1, **balancer: Any) -> None:
        self.cloud, self.at = cloud, 100.0
        self.net = seeds.network(cloud)
        self.balancer = seeds.balancer(cloud, self.net, groups, **balancer)
        self.elb = cloud.boto("elbv2")
        self.rule = self.balancer.listener if groups > 1 else ""
        cloud.set(now=lambda: self.at, drain=1.0)

    def traffic(self, rule: str = "", delay: float | None = None) -> TargetGroups:
        """Return the balancer as a new process opens it. ``delay``: the key ``deregistration_delay``."""
        spec = TrafficSpec(target_groups=self.balancer.groups, rule=rule or self.rule, deregistration_delay=delay)
        return TargetGroups(Clients(self.cloud.account()), FLEET, spec, HTTP, now=lambda: self.at)

    def launch(self, count: int) -> dict[str, tuple[str, int]]:
        """Launch instances. Return their addresses by instance id, as ``register`` takes them."""
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
        """Return the weight of each group in the listener's forward action."""
        action = self.elb.describe_listeners(ListenerArns=[self.balancer.listener])["Listeners"][0]["DefaultActions"][0]
        return [each["Weight"] for each in action["ForwardConfig"]["TargetGroups"]]

    def forward(self, *weights: int) -> None:
        """Set the weights as something outside the collection does."""
        pairs = zip(self.balancer.groups, weights, strict=True)
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in pairs]
        action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        self.elb.modify_listener(ListenerArn=self.balancer.listener, DefaultActions=[action])

    def delay(self, group: int = 0) -> str:
        """Return the deregistration delay of a group, in seconds."""
        arn = self.balancer.groups[group]
        attributes = self.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        return {str(each["Key"]): str(each["Value"]) for each in attributes}[DELAY_ATTRIBUTE]

    def registered(self, group: int = 0) -> set[str]:
        """Return the ids of the group's targets, draining ones included."""
        return {
            each["Target"]["Id"]
            for each in self.elb.describe_target_health(TargetGroupArn=self.balancer.groups[group])[
                "TargetHealthDescriptions"
            ]
        }

    def changes(self) -> list[str]:
        """Return the changing calls to ELB, in order."""
        return [each.action for each in self.cloud.calls("elasticloadbalancing", changing=True)]


@pytest.fixture
def one_group(cloud: Cloud) -> TargetGroupSetup:
    return TargetGroupSetup(cloud, HealthCheckIntervalSeconds=5, delay=20)


@pytest.fixture
def two_groups(cloud: Cloud) -> TargetGroupSetup:
    return TargetGroupSetup(cloud, 2, HealthCheckIntervalSeconds=5, delay=20)


def states(traffic: TargetGroups) -> dict[str, tuple[str, bool]]:
    """Return each member's state, and whether it passes its health checks, by instance id."""
    return {each.id: (each.state, each.passing) for each in traffic.members()}
