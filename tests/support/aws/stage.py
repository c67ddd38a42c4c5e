# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An account for the tests of the fake AWS itself."""

from __future__ import annotations

from typing import Any

import pytest

from . import seeds
from .server import Cloud


class StageClock:
    """A clock that tests set."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


class Stage:
    """An account with a network and an AMI, and short calls for tests."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.clock = cloud, StageClock()
        self.net = seeds.network(cloud)
        self.ami = seeds.image(cloud, "shop-1")
        self.ec2, self.elb = cloud.boto("ec2", proxied=True), cloud.boto("elbv2", proxied=True)
        cloud.set(now=self.clock)

    def run(self, count: int = 1, **more: Any) -> list[str]:
        """Launch instances. Returns their ids."""
        parameters = {
            "ImageId": self.ami,
            "MinCount": count,
            "MaxCount": count,
            "InstanceType": "t3.micro",
            "SubnetId": self.net.subnets[0],
            **more,
        }
        return [each["InstanceId"] for each in self.ec2.run_instances(**parameters)["Instances"]]

    def states(self, **filters: Any) -> dict[str, str]:
        """The state of each instance by id."""
        pages = self.ec2.get_paginator("describe_instances").paginate(**filters)
        return {
            instance["InstanceId"]: instance["State"]["Name"]
            for page in pages
            for group in page["Reservations"]
            for instance in group["Instances"]
        }

    def volume(self, zone: int = 0, **more: Any) -> str:
        """Create a volume. Returns its id."""
        return str(
            self.ec2.create_volume(AvailabilityZone=self.net.zones[zone], Size=4, VolumeType="gp3", **more)["VolumeId"]
        )

    def health(self, group: str) -> dict[str, str]:
        """The health of each target by id."""
        members = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in members}


@pytest.fixture
def stage(cloud: Cloud) -> Stage:
    return Stage(cloud)


def refused(code: str) -> Any:
    """A context in which AWS must refuse a call with this code."""
    from botocore.exceptions import ClientError

    return pytest.raises(ClientError, match=rf"\({code}\)")
