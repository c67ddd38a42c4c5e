# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image that one account bakes and another one launches: shared or copied, pruned and revoked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account, Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image, ami_of, amis_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images import accounts, copies
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2 import image_shares
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.image_shares import (
    AmiShares,
    Pace,
    Recipient,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_images
from ansible_collections.immutable.infra.plugins.plugin_utils._store.keys import store_id
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop, tags_of
from ansible_collections.immutable.infra.tests.support.aws.rules_accounts import DEFAULT_KEY
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

HOME, OTHER, FAR = "123456789012", "222222222222", "eu-west-1"
ROLE = f"arn:aws:iam::{OTHER}:role/deploy"
SERVICE_ROLE = f"arn:aws:iam::{OTHER}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
STORE = "0123456789abcdef"
TAGS = {"immutable:store": STORE, "immutable:bake": "bake-0123456789ab"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_shares, "Pace", lambda: PACE)


PACE = Pace(copy=0, grant=0, visible=0)


def shares(cloud: Cloud, region: str = REGION, *, copies: bool = False, roles: tuple[str, ...] = (ROLE,)) -> AmiShares:
    account = replace(cloud.account(region), role=ROLE)
    return AmiShares(cloud.account(), Recipient(account, roles, copies), STORE, PACE)


def artifact(cloud: Cloud) -> dict[str, Any]:
    ami = seeds.image(cloud, "shop-1", TAGS)
    return {"ami": ami, "region": REGION, "account": HOME, "name": "shop-1", "architecture": "x86_64", "copies": {}}


def launchers(cloud: Cloud, ami: str) -> list[str]:
    answer = cloud.boto("ec2").describe_image_attribute(ImageId=ami, Attribute="launchPermission")
    return [each["UserId"] for each in answer["LaunchPermissions"]]


def grantees(cloud: Cloud, key: str) -> list[str]:
    return [each["GranteePrincipal"] for each in cloud.boto("kms").list_grants(KeyId=key)["Grants"]]


def their_ec2(cloud: Cloud) -> Any:
    """EC2 in the other account, past the proxy."""
    keys = cloud.boto("sts").assume_role(RoleArn=ROLE, RoleSessionName="theirs")["Credentials"]
    return boto3.client(
        "ec2",
        region_name=FAR,
        endpoint_url=cloud.moto_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def test_a_shared_image_is_launched_with_the_key_of_its_account(cloud: Cloud) -> None:
    baked = artifact(cloud)
    key = seeds.encrypt(cloud, baked["ami"])
    other = shares(cloud, roles=(ROLE, SERVICE_ROLE))
    for _again in range(2):  # as after a run that was killed before it recorded this
        entry = other.hand_over(baked, TAGS)
        assert entry == {"ami": baked["ami"], "shared": True, "roles": [ROLE, SERVICE_ROLE]}
    assert (launchers(cloud, baked["ami"]), grantees(cloud, key)) == ([OTHER], [ROLE, SERVICE_ROLE])
    assert cloud.count(action="ModifyImageAttribute") == 1
    known = {**baked, "accounts": {OTHER: {REGION: entry}}}
    assert ami_of(known, REGION, account=OTHER) == ami_of(known, REGION) == baked["ami"]
    with pytest.raises(ImageError, match=f"no AMI in {FAR} of account {OTHER}"):
        ami_of(known, FAR, account=OTHER)


def test_a_copy_leaves_nothing_shared(cloud: Cloud) -> None:
    baked = artifact(cloud)
    key = seeds.encrypt(cloud, baked["ami"])
    other = shares(cloud, FAR, copies=True)
    entry = other.hand_over(baked, TAGS)
    assert (launchers(cloud, baked["ami"]), grantees(cloud, key)) == ([], [])
    ec2 = Clients(replace(cloud.account(FAR), role=ROLE)).ec2
    [copied] = ec2.describe_images(ImageIds=[entry["ami"]], Owners=["self"])["Images"]
    assert (tags_of(copied)["immutable:store"], entry["ami"] != baked["ami"]) == (STORE, True)
    assert other.hand_over(baked, TAGS)["ami"] == entry["ami"]
    assert cloud.count(action="CopyImage") == 1


def test_the_default_key_is_refused_before_anything_is_shared(cloud: Cloud) -> None:
    baked = artifact(cloud)
    seeds.encrypt(cloud, baked["ami"], DEFAULT_KEY)
    with pytest.raises(ProviderError, match="the default key of its account, and AWS shares no such snapshot"):
        shares(cloud).require_shareable(baked)
    assert cloud.count(changing=True) == 0


def test_a_role_whose_policy_does_not_allow_the_key_is_named(cloud: Cloud) -> None:
    baked = artifact(cloud)
    key = seeds.encrypt(cloud, baked["ami"])
    cloud.set(deaf=frozenset({"deploy"}))
    with pytest.raises(ProviderError, match=f"kms:DescribeKey on {key}.* its own policy must allow it too"):
        shares(cloud).hand_over(baked, TAGS)
    with pytest.raises(ProviderError, match=f"set role for its target|granted to a role of account {OTHER}"):
        shares(cloud, roles=()).require_shareable(baked)


@pytest.fixture
def shop(cloud: Cloud, tmp_path: Path) -> Shop:
    """A definition whose target bakes for two targets in another account."""
    created = Shop(cloud, tmp_path, build={"kms_key": "alias/images"})
    own = {key: value for key, value in created.target.items() if key != "build"}
    targets = created.document["targets"]
    baker = next(iter(targets))
    targets["shared"] = {**own, "role": ROLE, "image_from": {"share": baker}}
    targets["copied"] = {
        **own,
        "region": FAR,
        "role": ROLE,
        "image_from": {"copy": baker},
        "build": {"kms_key": "alias/theirs"},
    }
    return created


def baked_image(shop: Shop) -> Image:
    image = shop.image("1.0.0")
    image = replace(image, base={"source": "ssm:/debian/12"}, artifact={**image.artifact, "architecture": "x86_64"})
    Catalogue(shop.store).add(image)
    identity = {"immutable:store": store_id(shop.store), "immutable:bake": "bake-0123456789ab"}
    ec2 = shop.cloud.boto("ec2")
    snapshots = [disk["Ebs"]["SnapshotId"] for disk in ec2.describe_images()["Images"][0]["BlockDeviceMappings"]]
    tags = [{"Key": key, "Value": value} for key, value in identity.items()]
    ec2.create_tags(Resources=[image.artifact["ami"], *snapshots], Tags=tags)
    seeds.encrypt(shop.cloud, image.artifact["ami"])
    return image


def test_the_accounts_of_targets_get_the_image_and_lose_it(shop: Shop) -> None:
    """Shared and copied, revoked and restored, kept while it is used, and removed."""
    image, cloud = baked_image(shop), shop.cloud
    definition = shop.definition()
    missing = accounts.missing_accounts(image, definition)
    assert accounts.place_names(missing) == [f"{OTHER}/{REGION}", f"{OTHER}/{FAR}"]
    assert copies.missing_copies(image, definition) == {}
    assert accounts.missing_accounts(replace(image, revoked={"reason": "x"}), definition) == []
    accounts.require_shareable(image, missing, shop.store)
    done = accounts.hand_over(image, missing, shop.store)
    assert Catalogue(shop.store).get(image.digest, image.build) == done
    assert accounts.missing_accounts(done, definition) == []
    ami, copied = image.artifact["ami"], amis_of(done.artifact, OTHER)[FAR]
    assert amis_of(done.artifact, OTHER)[REGION] == ami and copied != ami
    assert launchers(cloud, ami) == [OTHER]

    assert accounts.permit(done, definition, shop.store, allowed=False) == [f"{OTHER}/{REGION}"]
    assert launchers(cloud, ami) == []
    assert accounts.permit(done, definition, shop.store, allowed=False) == []
    assert accounts.permit(done, definition, shop.store, allowed=True) == [f"{OTHER}/{REGION}"]

    baker = next(iter(definition.targets.values()))
    images = open_images(baker)
    images._store = store_id(shop.store)  # type: ignore[attr-defined]
    assert images.users([done.artifact]) == [[]]  # the account that may launch it is looked into
    alone = open_images(replace(baker, image_users=()))
    [reasons] = alone.users([done.artifact])
    assert any(f"account {OTHER} has it" in text for text in reasons)
    assert any(f"shared with {OTHER}" in text for text in reasons)
    with pytest.raises(ProviderError, match=f"account {OTHER} has {ami}"):
        alone.remove(done.artifact)

    theirs = their_ec2(cloud)
    net = seeds.network(cloud, region=FAR, client=theirs)
    [instance] = theirs.run_instances(ImageId=copied, MinCount=1, MaxCount=1, SubnetId=net.subnets[0])["Instances"]
    [reasons] = images.users([done.artifact])
    assert [text for text in reasons if instance["InstanceId"] in text and f"of account {OTHER}" in text]
    theirs.terminate_instances(InstanceIds=[instance["InstanceId"]])

    key = next(iter(cloud.world.keys.values()))
    images.remove(done.artifact)
    assert not theirs.describe_images(Owners=["self"])["Images"]
    assert not cloud.boto("ec2").describe_images(Owners=["self"], Filters=[{"Name": "image-id", "Values": [ami]}])[
        "Images"
    ]
    assert grantees(cloud, key) == []
    images.remove(done.artifact)  # as after a run that was killed


def test_a_channel_is_published_in_the_account_of_its_target(shop: Shop) -> None:
    image, definition = baked_image(shop), shop.definition()
    with pytest.raises(ImageError, match=f"not in account {OTHER} of target copied yet"):
        copies.publish_channel(image, definition, "copied", "prod", check=False)
    done = accounts.hand_over(image, accounts.missing_accounts(image, definition), shop.store)
    changed = copies.publish_channel(done, definition, "copied", "prod", check=False)
    assert f"/immutable/shop/prod/ami in {FAR}" in changed
    ssm = Clients(replace(shop.cloud.account(FAR), role=ROLE)).client("ssm")
    assert (
        ssm.get_parameter(Name="/immutable/shop/prod/ami")["Parameter"]["Value"] == amis_of(done.artifact, OTHER)[FAR]
    )


def test_an_account_is_known_from_its_role(cloud: Cloud) -> None:
    assert Clients(Account(region=REGION, role=ROLE)).account_id == OTHER
    assert cloud.count() == 0
