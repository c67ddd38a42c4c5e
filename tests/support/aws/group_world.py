# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Auto Scaling group with a launch template in the fake AWS, for tests of the provider."""

from __future__ import annotations

from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.autoscaling import Ec2AutoScalingGroup
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

from . import seeds
from .server import REGION, Cloud

FLEET, DIGEST = "shop-prod", "sha256:" + "1" * 64
REQUEST = LaunchRequest(
    token="",
    fleet=FLEET,
    slot=0,
    image=DIGEST,
    artifact={},
    launch="1" * 64,
    nonce="n" * 32,
    settings={"color": "red"},
    secret_refs={"password": "/shop/password:1"},
    tags={"image_name": "shop-2.0-1"},
)
MIXED = {
    "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3a.small", "WeightedCapacity": "2"}],
    "InstancesDistribution": {"OnDemandBaseCapacity": 1, "SpotAllocationStrategy": "capacity-optimized"},
}


class GroupWorld:
    """A launch template and a group of its own, at moto."""

    def __init__(self, cloud: Cloud) -> None:
        self.old, self.new = seeds.image(cloud, "old"), seeds.image(cloud, "new")
        self.store = MemoryStore()
        self.scaling = Ec2AutoScalingGroup(cloud.account(), "shop", store=self.store, fleet=FLEET)
        self.ec2, self.groups = self.scaling._clients.ec2, self.scaling._scaling
        self.seed_ec2, self.seed_groups = (
            cloud.boto("ec2"),
            cloud.boto("autoscaling"),
        )  # what a user created before, without the collection's own clients
        self.template = self.seed_ec2.create_launch_template(
            LaunchTemplateName="shop",
            LaunchTemplateData={
                "ImageId": self.old,
                "InstanceType": "t3.micro",
                "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "a"}]}],
            },
        )["LaunchTemplate"]["LaunchTemplateId"]

    def group(self, version: str = "1", count: int = 2, **given: Any) -> GroupWorld:
        launch = given or {"LaunchTemplate": {"LaunchTemplateId": self.template, "Version": version}}
        self.seed_groups.create_auto_scaling_group(
            AutoScalingGroupName="shop",
            MinSize=0,
            MaxSize=10,
            DesiredCapacity=count,
            AvailabilityZones=[f"{REGION}a"],
            HealthCheckGracePeriod=90,
            **launch,
        )
        return self

    def mixed(self, **given: Any) -> GroupWorld:
        launch = {
            "LaunchTemplateSpecification": {"LaunchTemplateId": self.template, "Version": "1"},
            "Overrides": MIXED["Overrides"],
            **given,
        }
        return self.group(
            MixedInstancesPolicy={"LaunchTemplate": launch, "InstancesDistribution": MIXED["InstancesDistribution"]}
        )

    def described(self) -> Any:
        return self.groups.describe_auto_scaling_groups(AutoScalingGroupNames=["shop"])["AutoScalingGroups"][0]

    def version(self, number: str) -> Any:
        found = self.ec2.describe_launch_template_versions(LaunchTemplateId=self.template, Versions=[number])
        return found["LaunchTemplateVersions"][0]

    def add_version(self, image: str) -> None:
        self.seed_ec2.create_launch_template_version(
            LaunchTemplateId=self.template, LaunchTemplateData={"ImageId": image}
        )
