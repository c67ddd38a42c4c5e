# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A definition from what a group on AWS runs: few calls, all of which read, and a definition that loads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.draft import Draft
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.from_group import take_group
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.open import (
    Sources,
    write_definition,
    write_draft,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.running_group import RunningGroup
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.service import ServiceOptions, begin
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

HOSTILE = "x\n- evil: {{ lookup('pipe', 'id') }}\u2028\x85"
TAGS = [{"Key": "Project", "Value": "shop"}, {"Key": "note", "Value": "a;b"}]


def init(cloud: Cloud, folder: Path, **sources: Any) -> tuple[Definition, dict[str, Any]]:
    options = ServiceOptions(**sources.pop("options", {}))
    task = Task(report=lambda _line: None, guard=Guard())
    result = write_definition(folder, options, Sources(account=cloud.account(), **sources), task=task)
    return load_definition(folder), result


class Seeded:
    """A network, an AMI, and a balancer with one target group."""

    def __init__(self, cloud: Cloud, ami: str = "debian-12-amd64-20260101") -> None:
        self.cloud = cloud
        self.net = seeds.network(cloud)
        self.ami = seeds.image(cloud, ami)
        self.balancer = seeds.balancer(cloud, self.net, Matcher={"HttpCode": "200-204,301"})

    def scaling_group(self, **data: Any) -> None:
        launch = {"ImageId": self.ami, "InstanceType": "t3.large", "SecurityGroupIds": [self.net.group], **data}
        made = self.cloud.boto("ec2").create_launch_template(LaunchTemplateName="shop", LaunchTemplateData=launch)
        self.cloud.boto("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName="Shop Prod",
            MinSize=0,
            MaxSize=4,
            DesiredCapacity=0,
            VPCZoneIdentifier=",".join(self.net.subnets),
            TargetGroupARNs=[self.balancer.groups[0]],
            LaunchTemplate={"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"},
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in TAGS],
        )

    def instances(self, count: int = 1, zone: int = 0, **more: Any) -> list[str]:
        launched = self.cloud.boto("ec2").run_instances(
            ImageId=self.ami,
            MinCount=count,
            MaxCount=count,
            SubnetId=self.net.subnets[zone],
            SecurityGroupIds=[self.net.group],
            **{"InstanceType": "t3.large", **more},
        )["Instances"]
        ids = [each["InstanceId"] for each in launched]
        targets = [{"Id": each} for each in ids]
        self.cloud.boto("elbv2").register_targets(TargetGroupArn=self.balancer.groups[0], Targets=targets)
        return ids


def test_an_auto_scaling_group_stays_what_replaces_the_instances(cloud: Cloud, tmp_path: Path) -> None:
    account = Seeded(cloud)
    secret = base64.b64encode(b"#!/bin/sh\nexport TOKEN=hunter2-hunter2\n").decode("ascii")
    account.scaling_group(UserData=secret)
    definition, result = init(cloud, tmp_path, scaling_group="Shop Prod")
    target = definition.target("prod")
    assert (definition.service, target.fleet.engine, target.fleet.autoscaling.group) == (
        "shop-prod",
        "autoscaling",
        "Shop Prod",
    )
    assert (target.base.source, target.base.python, target.aws.region) == (account.ami, "3.11", REGION)
    assert dict(target.network.subnets) == dict(zip(account.net.zones, account.net.subnets, strict=True))
    http = target.health.http
    assert http is not None and (http.port, http.path, http.status) == (8080, "/healthz", ("200-204", 301))
    assert dict(target.tags) == {"Project": "shop"}
    left = "\n".join(result["left"])
    assert "user data of the launch template" in left and "the size of the group (0 to 4, now 0)" in left
    texts = "".join((tmp_path / name).read_text() for name in result["files"])
    assert "hunter2" not in texts and secret not in texts + json.dumps(result)
    assert "tag note" in left
    calls = [call.action for call in cloud.calls()]
    assert cloud.count(changing=True) == 0 and calls == [
        "DescribeAutoScalingGroups",
        "DescribeLaunchTemplateVersions",
        "DescribeSubnets",
        "DescribeImages",
        "DescribeTargetGroups",
    ]


def test_hostile_names_and_tags_stay_in_their_comments(tmp_path: Path) -> None:
    group = RunningGroup(
        name=f"shop{HOSTILE}",
        region=REGION,
        subnets={"a": "subnet-0123456789abcdef0"},
        image={"ImageId": "ami-0123456789abcdef0", "Name": HOSTILE, "Architecture": HOSTILE},
        machine={"type": HOSTILE, "instance_profile": HOSTILE, "security_groups": [HOSTILE]},
        target_group={
            "TargetGroupName": HOSTILE,
            "TargetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef",
            "Port": 80,
            "HealthCheckPort": "traffic-port",
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPath": "/{{x}}",
            "Matcher": {"HttpCode": "200"},
        },
        tags={"Project": "{{ 7 * 7 }}", "note": HOSTILE, HOSTILE: "x", **{f"key{n:02}": "x" for n in range(40)}},
        left=[(HOSTILE, "nothing")],
    )
    draft = Draft(tmp_path, "a group")
    begin(draft, ServiceOptions(), group.name)
    take_group(draft, group, Account())
    write_draft(draft, Task(report=lambda _line: None, guard=Guard()))
    target = load_definition(tmp_path).target("prod")
    assert target.machine.type == "" and target.health.http is not None and target.health.http.path == "/"
    assert len(target.tags) <= 20 and "Project" not in target.tags
    for path in tmp_path.iterdir():
        text = path.read_bytes()
        assert b"{{" not in text and b"\xc2\x85" not in text and b"\xe2\x80\xa8" not in text, path.name
        assert b"evil:" not in b"".join(line for line in text.splitlines() if not line.startswith(b"#")), path.name


def test_what_most_instances_of_a_target_group_have_in_common(cloud: Cloud, tmp_path: Path) -> None:
    account = Seeded(cloud, ami="ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260101")
    tags = [{"ResourceType": "instance", "Tags": TAGS[:1]}]
    account.instances(2, TagSpecifications=tags)
    account.instances(1, zone=1, TagSpecifications=tags, InstanceType="t3.micro")
    definition, result = init(cloud, tmp_path, target_group="shop-0", options={"service": "shop"})
    target = definition.target("prod")
    assert (target.fleet.engine, target.fleet.size, target.machine.type) == ("swap", 3, "t3.large")
    assert target.traffic.target_groups == account.balancer.groups
    assert (target.base.python, target.build.ssh_username) == ("3.10", "ubuntu")
    assert target.network.security_groups == (account.net.group,) and len(target.network.subnets) == 2
    assert dict(target.tags) == {"Project": "shop"}
    left = "\n".join(result["left"])
    assert "2 different instance types" in left and "3 registered instances: they are not taken over" in left
    assert result["next"].endswith("-e immutable_target=prod") and result["to_check"] == []
    calls = [call.action for call in cloud.calls()]
    assert calls == ["DescribeTargetGroups", "DescribeTargetHealth", "DescribeInstances", "DescribeImages"]


def test_a_template_gives_the_base_and_a_group_the_rest(cloud: Cloud, tmp_path: Path) -> None:
    account = Seeded(cloud, ami="shop-1.4.2")
    account.instances()
    (tmp_path / "t.json").write_text(
        json.dumps(
            {
                "builders": [
                    {
                        "type": "amazon-ebs",
                        "source_ami_filter": {"filters": {"name": "debian-12-amd64-*"}, "owners": ["136693071363"]},
                        "instance_type": "t3.medium",
                        "ssh_username": "admin",
                        "ami_name": "shop-{{timestamp}}",
                        "tags": {"Team": "a"},
                    }
                ],
                "provisioners": [{"type": "shell", "inline": ["sudo apt-get update", "sudo apt-get -y install nginx"]}],
            }
        )
    )
    definition, result = init(
        cloud,
        tmp_path,
        target_group=account.balancer.groups[0],
        template=tmp_path / "t.json",
        options={"service": "shop"},
    )
    target = definition.target("prod")
    assert target.base.source == "136693071363/debian-12-amd64-*"
    assert (target.build.type, dict(target.tags)) == ("t3.medium", {"Team": "a"})
    assert "nginx" in (tmp_path / "provision.yml").read_text() and "ami_name" in "\n".join(result["left"])


def test_an_unknown_ami_is_to_be_checked(cloud: Cloud, tmp_path: Path) -> None:
    Seeded(cloud, ami="shop-1.4.2").instances()
    _definition, result = init(cloud, tmp_path, target_group="shop-0")
    assert "python3 --version" in "".join(result["to_check"])


def test_groups_that_cannot_be_used_are_refused(cloud: Cloud, tmp_path: Path) -> None:
    account = Seeded(cloud)
    with pytest.raises(ImmutableError, match="target_group: no instance is registered in shop-0"):
        init(cloud, tmp_path, target_group="shop-0")
    with pytest.raises(ImmutableError, match="target_group: there is no target group 'other' in"):
        init(cloud, tmp_path, target_group="other")
    with pytest.raises(ImmutableError, match="auto_scaling_group: there is no group 'other' in"):
        init(cloud, tmp_path, scaling_group="other")
    with pytest.raises(ImmutableError, match="auto_scaling_group: .* has no launch template"):
        scaling = cloud.boto("autoscaling")
        scaling.create_launch_configuration(LaunchConfigurationName="old", ImageId=account.ami, InstanceType="t3.micro")
        scaling.create_auto_scaling_group(
            AutoScalingGroupName="old",
            MinSize=0,
            MaxSize=0,
            LaunchConfigurationName="old",
            VPCZoneIdentifier=account.net.subnets[0],
        )
        init(cloud, tmp_path, scaling_group="old")
    assert list(tmp_path.iterdir()) == []
