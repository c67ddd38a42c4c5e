# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of launch templates carry the launch document, against moto behind the proxy."""

from __future__ import annotations

import base64
import io
import json
import random
import tarfile
from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.autoscaling import Ec2AutoScalingGroup
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.group_template import (
    machine_of,
    version_data,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.run_instances import Scope
from ansible_collections.immutable.infra.tests.support.aws.group_world import DIGEST, FLEET, MIXED, REQUEST, GroupWorld
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from botocore.stub import ANY, Stubber


@pytest.fixture
def world(cloud: Cloud) -> GroupWorld:
    return GroupWorld(cloud)


def test_a_version_is_created_once_and_found_again(world: GroupWorld, cloud: Cloud) -> None:
    scaling = world.group().scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert desired.template is None and desired.seals and not desired.drops_user_data
    version = scaling.create_version(desired)
    assert version == h.LaunchTemplate(world.template, "2")
    assert world.version("2")["VersionDescription"].startswith("immutable.infra shop-2.0-1 ")
    data = world.version("2")["LaunchTemplateData"]
    assert data["ImageId"] == world.new and data["InstanceType"] == "t3.micro"
    tags = {
        each["ResourceType"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in data["TagSpecifications"]
    }
    assert tags["volume"] == {"immutable:image": DIGEST, "immutable:image_name": "shop-2.0-1"}
    assert tags["instance"]["team"] == "a" and tags["instance"]["immutable:nonce"] == REQUEST.nonce
    assert tags["instance"]["immutable:launch"] == REQUEST.launch and "immutable:fleet" not in tags["instance"]
    other = Ec2AutoScalingGroup(cloud.account(), "shop", store=world.store, fleet=FLEET)
    assert other.desired_launch(other.group(), world.new, "shop-2.0-1", REQUEST).template == version
    changed = replace(REQUEST, settings={"color": "blue"}, launch="2" * 64)
    assert other.desired_launch(other.group(), world.new, "shop-2.0-1", changed).template is None


def test_instances_of_the_version_seal_with_the_document_of_the_template(world: GroupWorld, cloud: Cloud) -> None:
    scaling = world.scaling
    world.group(count=0)
    version = scaling.create_version(scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST))
    scaling.pin(version)
    # moto gives instances the tags of the default version.
    world.seed_ec2.modify_launch_template(LaunchTemplateId=world.template, DefaultVersion=version.version)
    world.seed_groups.set_desired_capacity(AutoScalingGroupName="shop", DesiredCapacity=2)
    machines = scaling.machines()
    assert [each.evidence and (each.evidence.nonce, each.evidence.digest) for each in machines] == [
        (REQUEST.nonce, DIGEST)
    ] * 2
    given = world.seed_ec2.describe_instance_attribute(InstanceId=machines[0].id, Attribute="userData")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(given["UserData"]["Value"])), mode="r:gz") as archive:
        texts = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}
    assert texts["nonce"].strip() == REQUEST.nonce and json.loads(texts["settings.json"]) == {"color": "red"}
    assert json.loads(texts["secrets.json"])["secrets"] == {"password": {"ssm": "/shop/password:1"}}
    scaling.machines()
    assert cloud.count(action="GetConsoleOutput") == 2, "no console is read again"
    current = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert current.template == version and current.seals


def test_instances_without_a_document_have_no_evidence_and_no_console_is_read(world: GroupWorld, cloud: Cloud) -> None:
    assert [each.evidence for each in world.group().scaling.machines()] == [None] * 2
    assert cloud.count(action="GetConsoleOutput") == 0


def test_a_version_without_a_document_is_only_kept_if_an_earlier_release_made_it(world: GroupWorld) -> None:
    scaling = world.group().scaling
    group, plain = scaling.group(), replace(REQUEST, settings={}, secret_refs={})
    assert scaling.desired_launch(group, world.old, "shop-1.0-1", plain).template is None
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "immutable:image", "Value": DIGEST}]}]
    world.seed_ec2.create_launch_template_version(
        LaunchTemplateId=world.template, LaunchTemplateData={"ImageId": world.old, "TagSpecifications": tags}
    )
    earlier = h.LaunchTemplate(world.template, "2")
    scaling.pin(earlier)
    kept = scaling.desired_launch(scaling.group(), world.old, "shop-1.0-1", plain)
    assert (kept.template, kept.seals) == (earlier, False)
    assert scaling.desired_launch(scaling.group(), world.old, "shop-1.0-1", REQUEST).template is None


def test_user_data_of_the_templates_own_is_told_and_replaced(world: GroupWorld) -> None:
    world.seed_ec2.create_launch_template_version(
        LaunchTemplateId=world.template,
        LaunchTemplateData={"ImageId": world.old, "UserData": base64.b64encode(b"#cloud-config").decode()},
    )
    scaling = world.group("2").scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert desired.drops_user_data
    scaling.pin(scaling.create_version(desired))
    current = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert current.template == h.LaunchTemplate(world.template, "3") and not current.drops_user_data


def test_a_document_larger_than_user_data_is_refused_before_the_call(world: GroupWorld, cloud: Cloud) -> None:
    scaling = world.group().scaling
    large = replace(REQUEST, settings={"noise": base64.b64encode(random.Random(1).randbytes(20_000)).decode()})
    with pytest.raises(ProviderError, match=r"settings and keys of shop-prod are too large: \d+ bytes of user data"):
        scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", large)
    assert cloud.count(changing=True) == 0


def test_a_version_is_created_from_the_groups_own_with_a_token(world: GroupWorld) -> None:
    scaling = world.group().scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    answer = {
        "LaunchTemplateVersion": {"LaunchTemplateId": world.template, "VersionNumber": 7, "LaunchTemplateData": {}}
    }
    expected = {
        "LaunchTemplateId": world.template,
        "SourceVersion": "1",
        "VersionDescription": f"immutable.infra shop-2.0-1 {desired.content}",
        "LaunchTemplateData": ANY,
        "ClientToken": f"immutable-{desired.content}-1",
    }
    with Stubber(world.ec2) as stub:
        stub.add_response("create_launch_template_version", answer, expected)
        assert scaling.create_version(desired) == h.LaunchTemplate(world.template, "7")
        warned = {**answer, "Warning": {"Errors": [{"Code": "Gone", "Message": "the snapshot is gone"}]}}
        stub.add_response("create_launch_template_version", warned)
        with pytest.raises(ProviderError, match="AWS warns about the new version: the snapshot is gone"):
            scaling.create_version(desired)


def test_a_version_keeps_the_metadata_options_that_its_instances_can_seal_with() -> None:
    described = {"MetadataOptions": {"State": "pending", "HttpPutResponseHopLimit": 2, "HttpTokens": "optional"}}
    options = version_data(described, "ami-1", REQUEST, Scope(REGION, "0123456789abcdef"))["MetadataOptions"]
    assert options == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 2,
        "HttpTokens": "required",
        "InstanceMetadataTags": "disabled",
    }


def test_a_test_runs_on_a_machine_like_those_of_the_group(world: GroupWorld) -> None:
    data = {
        "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/team/shop"},
        "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-1"], "AssociatePublicIpAddress": True}],
    }
    world.seed_ec2.create_launch_template_version(
        LaunchTemplateId=world.template, SourceVersion="1", LaunchTemplateData={"InstanceType": "m7i.large", **data}
    )
    scaling = world.group("2", count=0).scaling
    expected = {"type": "m7i.large", "instance_profile": "shop", "security_groups": ["sg-1"]}
    assert scaling.machine(scaling.group()) == expected
    policy = {"LaunchTemplate": {"Overrides": [{"WeightedCapacity": "1"}, *MIXED["Overrides"]]}}
    assert machine_of({"InstanceType": "m7i.large"}, policy) == {"type": "t3.small"}
    assert machine_of({}, {}) == {}
