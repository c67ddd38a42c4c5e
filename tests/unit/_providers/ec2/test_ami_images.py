# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AMIs as bases, artifacts, copies and SSM parameters, against moto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.base_ami import resolve_ami
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, ImageError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Build,
    Definition,
    FleetSpec,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image, amis_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images import copies
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.images import Ec2Images
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.answers import Answer
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

OTHER, THIRD = "eu-west-1", "us-east-1"
TAGS = {"immutable:digest": "sha256:ab", "immutable:store": "0123456789abcdef"}


def resolved(cloud: Cloud, source: str) -> dict[str, Any]:
    return resolve_ami(Base("ami", source, python="3.11"), cloud.account())


def artifact(cloud: Cloud, name: str = "shop-1") -> dict[str, Any]:
    ami = seeds.image(cloud, name)
    return {
        "ami": ami,
        "region": REGION,
        "account": "123456789012",
        "name": name,
        "architecture": "x86_64",
        "root_device": "/dev/xvda",
        "copies": {},
    }


def test_a_base_resolves_to_one_ami_however_it_is_named(cloud: Cloud) -> None:
    old = seeds.image(cloud, "debian-12-20240101")
    found = resolved(cloud, old)
    assert found == {
        "kind": "ami",
        "source": old,
        "ami": old,
        "region": REGION,
        "architecture": "x86_64",
        "root_device": "/dev/sda1",  # as moto names it
        "python": "3.11",
    }
    cloud.boto("ssm").put_parameter(Name="/base/current", Value=old, Type="String")
    assert resolved(cloud, "ssm:/base/current")["ami"] == old
    assert resolved(cloud, "self/debian-12-*")["ami"] == old


def test_a_base_is_looked_up_once(cloud: Cloud) -> None:
    seeds.image(cloud, "debian-12-20240101")
    first = resolved(cloud, "self/debian-12-*")
    first_calls = cloud.count()
    assert resolved(cloud, "self/debian-12-*") == first
    assert (first_calls, cloud.count()) == (1, 1)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ami-0123456789abcdef0", "there is no AMI ami-0123456789abcdef0 in eu-central-1"),
        ("self/nothing-*", "no available AMI in eu-central-1 has this owner and name"),
        ("ssm:/no/such", "AWS refused GetParameter"),
        ("ssm:/a/word", "does not contain the id of an AMI, but 'a word'"),
    ],
)
def test_a_missing_base_is_named(cloud: Cloud, source: str, said: str) -> None:
    cloud.boto("ssm").put_parameter(Name="/a/word", Value="a word", Type="String")
    with pytest.raises(BakeError, match=said):
        resolved(cloud, source)


def test_one_name_for_two_architectures_is_refused(cloud: Cloud) -> None:
    for architecture in ("x86_64", "arm64"):
        cloud.boto("ec2", proxied=True).register_image(
            Name=f"debian-{architecture}", Architecture=architecture, RootDeviceName="/dev/xvda"
        )
    with pytest.raises(BakeError, match="matches AMIs for arm64 and x86_64"):
        resolved(cloud, "self/debian-*")


def test_an_image_is_present_as_long_as_its_ami_is(cloud: Cloud) -> None:
    baked, images = artifact(cloud), Ec2Images(cloud.account())
    assert images.build("x86_64") == "aws-123456789012-x86_64"
    assert images.present(baked)
    cloud.boto("ec2").deregister_image(ImageId=baked["ami"])
    assert not images.present(baked)


def test_copies_are_created_once_encrypted_and_tagged(cloud: Cloud) -> None:
    baked, images = artifact(cloud), Ec2Images(cloud.account(), copy_delay=0)
    copied = images.copy(baked, {OTHER: "alias/images", THIRD: "", REGION: ""}, TAGS)
    assert set(amis_of(copied)) == {REGION, OTHER, THIRD}
    calls = cloud.calls("ec2", "CopyImage")
    assert {call.parameters.get("KmsKeyId", "") for call in calls} == {"alias/images", ""}
    assert {call.parameters["Encrypted"] for call in calls} == {"true"}
    for region in (OTHER, THIRD):
        [image] = cloud.boto("ec2", region).describe_images(ImageIds=[copied["copies"][region]["ami"]])["Images"]
        assert {tag["Key"]: tag["Value"] for tag in image["Tags"]} == TAGS
    # Like the run after one that was killed before it recorded the copies it had started.
    assert amis_of(images.copy(baked, {OTHER: "", THIRD: ""}, TAGS)) == amis_of(copied)
    assert len(cloud.calls("ec2", "CopyImage")) == 2


def test_a_promotion_is_published_in_each_region_where_it_changes_something(cloud: Cloud) -> None:
    images = Ec2Images(cloud.account(), copy_delay=0)
    baked = images.copy(artifact(cloud), {OTHER: ""}, TAGS)
    name = "/immutable/shop/prod/ami"
    planned = images.publish("shop/prod", baked, check=True)
    assert cloud.count(changing=True, service="ssm") == 0
    assert images.publish("shop/prod", baked) == planned == {f"{name} in {REGION}": "", f"{name} in {OTHER}": ""}
    for region, ami in amis_of(baked).items():
        assert cloud.boto("ssm", region).get_parameter(Name=name)["Parameter"]["Value"] == ami
    assert images.publish("shop/prod", baked) == {}
    cloud.boto("ssm", OTHER).put_parameter(Name=name, Value="ami-0000000000000000f", Type="String", Overwrite=True)
    assert images.publish("shop/prod", baked) == {f"{name} in {OTHER}": "ami-0000000000000000f"}


def test_a_parameter_that_ssm_drops_after_its_answer_is_an_error(cloud: Cloud) -> None:
    """AWS validates the AMI only after it has answered."""
    images, baked = Ec2Images(cloud.account(), publish_timeout=0), artifact(cloud)
    cloud.fault(lambda _call, _proceed: Answer(200, b'{"Version": 1, "Tier": "Standard"}'), action="PutParameter")
    with pytest.raises(
        ProviderError, match=r"/immutable/shop/prod/ami in .* does not show ami-.*ec2:DescribeImages.*Run again"
    ):
        images.publish("shop/prod", baked)
    assert images.publish("shop/prod", baked)  # it is still unpublished


def definition(folder: Path, cloud: Cloud, source: str, regions: Mapping[str, str]) -> Definition:
    base = Base("ami", source, python="3.11")
    targets = {
        name: Target(
            name=name,
            provider="aws",
            fleet=FleetSpec(),
            health=Health(tcp=TcpProbe(80)),
            base=base,
            build=Build(region=REGION, kms_key=f"alias/{name}"),
            aws=cloud.account(region),
        )
        for name, region in regions.items()
    }
    return Definition(
        path=folder / "immutable.yml",
        service="shop",
        version="1",
        provision=Provision("site.yml"),
        verify=None,
        data=(),
        writable=(),
        shell="restricted",
        targets=targets,
        base=base,
    )


def record(baked: Mapping[str, Any], source: str) -> Image:
    return Image(
        digest=f"sha256:{'ab' * 32}",
        build="aws-123456789012-x86_64",
        service="shop",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        artifact=baked,
        base={"source": source},
        inputs={},
        verified={"at": "now"},
    )


def test_targets_that_share_an_image_determine_its_regions(cloud: Cloud, tmp_path: Path) -> None:
    baked = artifact(cloud)
    known = definition(tmp_path, cloud, "ami-1", {"staging": REGION, "prod": OTHER, "far": THIRD})
    image = record(baked, "ami-1")
    assert copies.missing_copies(image, known) == {OTHER: "alias/prod", THIRD: "alias/far"}
    other_base = replace(known.targets["far"], base=Base("ami", "ami-2", python="3.11"))
    assert copies.missing_copies(image, replace(known, targets={**known.targets, "far": other_base})) == {
        OTHER: "alias/prod"
    }
    catalogue = Catalogue(FileStore(tmp_path / "store"))
    done = copies.copy_image(
        image,
        known.targets["staging"],
        copies.missing_copies(image, known),
        store_id="me",
        catalogue=catalogue,
    )
    found = catalogue.get(image.digest, image.build)
    assert found and amis_of(found.artifact) == amis_of(done.artifact)
    assert copies.missing_copies(done, known) == {}


def test_only_a_target_in_the_account_publishes_a_promotion(cloud: Cloud, tmp_path: Path) -> None:
    image = record(artifact(cloud), "ami-1")
    known = definition(tmp_path, cloud, "ami-1", {"prod": REGION})
    assert list(copies.publish_channel(image, known, None, "prod", check=False)) == [
        f"/immutable/shop/prod/ami in {REGION}"
    ]
    with pytest.raises(ImageError, match="no target of the definition uses it"):
        copies.publish_channel(image, definition(tmp_path, cloud, "ami-2", {"prod": REGION}), None, "prod", check=False)
