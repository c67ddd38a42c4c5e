# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags that an organization requires on everything that is created, and the limit of AWS on tags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import MAX_TAGS
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.checks.aws_tags import tags_of_instance
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.copies import copy_image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_images
from ansible_collections.immutable.infra.tests.support.aws.fleet import FLEET, TARGET, Shop, tags_of
from ansible_collections.immutable.infra.tests.support.aws.requests import CREATED
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

# https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_examples_tagging.html
REQUIRED = {
    "Effect": "Deny",
    "Action": [f"ec2:{action}" for action in CREATED],
    "Resource": "*",
    "Condition": {"Null": {"aws:RequestTag/Project": "true"}},
}
PROJECT = {"Project": "shop", "Cost Center": "4711"}


@pytest.fixture
def shop(cloud: Cloud, tmp_path: Path) -> Shop:
    created = Shop(cloud, tmp_path, tags=dict(PROJECT), snapshots=True)
    created.document["fleet"]["size"] = 1
    created.document["data"] = [{"name": "orders", "size": "1G", "mount": "/srv/orders"}]
    return created


def own(described: dict[str, Any]) -> dict[str, str]:
    return {name: text for name, text in tags_of(described).items() if name in PROJECT}


def test_everything_that_is_created_has_the_tags_that_an_organization_requires(shop: Shop) -> None:
    """Also: the tags of others stay, and a change of tags replaces nothing."""
    ec2, before = shop.cloud.boto("ec2"), {"Owner": "backups"}
    shop.cloud.set(denied=(REQUIRED,))
    shop.image("1.0.0")
    shop.run()
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "tag-key", "Values": ["immutable:volume"]}])["Volumes"]
    ec2.create_tags(Resources=[volume["VolumeId"]], Tags=[{"Key": key, "Value": text} for key, text in before.items()])
    shop.image("2.0.0")
    shop.run()
    (instance,) = [each for each in shop.instances() if each["State"]["Name"] == "running"]
    (volume,) = ec2.describe_volumes(VolumeIds=[volume["VolumeId"]])["Volumes"]
    (snapshot,) = ec2.describe_snapshots(Filters=[{"Name": "volume-id", "Values": [volume["VolumeId"]]}])["Snapshots"]
    assert [own(each) for each in (instance, volume, snapshot)] == [PROJECT] * 3
    assert tags_of(volume)["Owner"] == "backups"
    changed = {**PROJECT, "Project": "store"}
    shop.target["tags"] = changed
    shop.cloud.proxy.forget()
    shop.run()
    assert shop.cloud.count(service="ec2", changing=True) == 0


def test_images_and_their_parameters_have_the_tags(shop: Shop) -> None:
    image = shop.image("1.0.0")
    target = shop.definition().target(TARGET)
    shop.cloud.set(denied=(REQUIRED,))
    copied = copy_image(image, target, {"us-east-1": ""}, store_id="0123456789abcdef", catalogue=Catalogue(shop.store))
    ami = copied.artifact["copies"]["us-east-1"]["ami"]
    (found,) = shop.cloud.boto("ec2", "us-east-1").describe_images(ImageIds=[ami])["Images"]
    assert own(found) == PROJECT and tags_of(found)["immutable:store"] == "0123456789abcdef"
    for artifact in (image.artifact, {**image.artifact, "ami": shop.image("2.0.0").artifact["ami"]}):
        open_images(target).publish("shop/prod", artifact)
    ssm = shop.cloud.boto("ssm")
    parameter = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/immutable/shop/prod/ami")
    assert {tag["Key"]: tag["Value"] for tag in parameter["TagList"]} == PROJECT


def test_the_number_of_tags_is_known_before_anything_is_created(shop: Shop) -> None:
    """The expected number is the real one, with room for each mark."""
    shop.document["fleet"]["size"] = 1
    shop.image("1.0.0")
    shop.run()
    target, volumes = shop.definition().target(TARGET), shop.definition().data
    assert tags_of_instance(target, volumes) == len(tags_of(shop.instances()[0])) + 3
    many = {f"tag {number}": "x" for number in range(MAX_TAGS - tags_of_instance(target, volumes) + len(PROJECT))}
    shop.target["tags"] = many
    assert tags_of_instance(shop.definition().target(TARGET), volumes) == MAX_TAGS
    shop.target["tags"] = {**many, "one more": "x"}
    with pytest.raises(DefinitionError, match=rf"{len(many) + 1} tags .* (\d+) of this collection, 3 for marks .* 50"):
        shop.definition()


@pytest.mark.parametrize(
    "key", ["aws:owner", "AWS:owner", "immutable:store", "Immutable:x", "", "x" * 129, "a\nb", "a;b"]
)
def test_reserved_and_impossible_tags_are_refused(shop: Shop, key: str) -> None:
    shop.target["tags"] = {key: "x"}
    with pytest.raises(DefinitionError, match="tag"):
        shop.definition()


def test_a_mark_takes_the_room_that_is_left(shop: Shop) -> None:
    """A reason can be long enough for eight tags, and a host may have room for one."""
    shop.document["data"] = []
    shop.image("1.0.0")
    shop.run()
    (instance,) = shop.instances()
    room = MAX_TAGS - len(tags_of(instance)) - 1
    tags = [{"Key": f"of others {number}", "Value": ""} for number in range(room)]
    shop.cloud.boto("ec2").create_tags(Resources=[instance["InstanceId"]], Tags=tags)
    provider = shop.provider()
    provider.compute.tag([instance["InstanceId"]], {"tainted": "y" * 600})
    (marked,) = provider.compute.list(FLEET)
    assert marked.tags["tainted"] == "y" * 256
    provider.compute.tag([instance["InstanceId"]], {"tainted": None})
    assert replace(provider.compute.list(FLEET)[0], tags={}).id == instance["InstanceId"]
