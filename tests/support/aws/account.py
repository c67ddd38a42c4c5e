# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An account in the fake AWS, for tests of its rules. A conftest imports ``account`` and names it in ``__all__``."""

from __future__ import annotations

from typing import Any

import pytest

from . import seeds
from .server import Cloud


class ManualClock:
    """A clock that a test sets. ``at`` is its time in seconds."""

    at = 0.0

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class AccountSetup:
    """An account with a network and an AMI, and what a test does in it. The cloud's clock is ``clock``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.clock = cloud, ManualClock()
        self.net = seeds.network(cloud)
        self.ami = seeds.image(cloud, "shop-1")
        self.ec2, self.elb = cloud.boto("ec2", proxied=True), cloud.boto("elbv2", proxied=True)
        cloud.set(now=self.clock)

    def launch(self, count: int = 1, **more: Any) -> list[str]:
        """Launch instances. Return their ids."""
        parameters = {
            "ImageId": self.ami,
            "MinCount": count,
            "MaxCount": count,
            "InstanceType": "t3.micro",
            "SubnetId": self.net.subnets[0],
            **more,
        }
        return [each["InstanceId"] for each in self.ec2.run_instances(**parameters)["Instances"]]

    def states(self, **parameters: Any) -> dict[str, str]:
        """Return the states of the visible instances by id. ``parameters`` are those of ``describe_instances``."""
        pages = self.ec2.get_paginator("describe_instances").paginate(**parameters)
        return {
            each["InstanceId"]: each["State"]["Name"]
            for page in pages
            for group in page["Reservations"]
            for each in group["Instances"]
        }

    def volume(self, zone: int = 0, **more: Any) -> str:
        """Create a volume of 4 GiB in the zone of this number. Return its id."""
        return str(
            self.ec2.create_volume(AvailabilityZone=self.net.zones[zone], Size=4, VolumeType="gp3", **more)["VolumeId"]
        )

    def target_states(self, group: str) -> dict[str, str]:
        """Return the health states of the group's targets by instance id."""
        members = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in members}


@pytest.fixture
def account(cloud: Cloud) -> AccountSetup:
    return AccountSetup(cloud)


def refused(code: str) -> Any:
    """Return a context that expects AWS to refuse a call with this error code."""
    from botocore.exceptions import ClientError

    return pytest.raises(ClientError, match=rf"\({code}\)")
