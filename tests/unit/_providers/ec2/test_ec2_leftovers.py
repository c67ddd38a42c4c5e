# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leftovers of killed bakes on AWS are found by tags, age and use, and removed. What others need stays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.leftovers import BakeSweeper
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.leftovers import Ec2Leftovers
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.aws import faults, seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

STORE, BAKE, OTHER = "0123456789abcdef", "bake-aaaaaaaaaaaa", "us-east-1"
HOUR = 3600.0


def tags(store: str = STORE, bake: str = BAKE) -> dict[str, str]:
    return {"immutable:store": store, "immutable:bake": bake}


def listed(given: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in given.items()]


def specification(kind: str, given: dict[str, str]) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": listed(given)}]


@dataclass
class Account:
    cloud: Cloud
    store: FileStore
    at: float = 0.0  # seconds from now

    @property
    def ec2(self) -> Any:
        return self.cloud.boto("ec2")

    def broom(self) -> BakeSweeper:
        places = [Clients(self.cloud.account()), Clients(self.cloud.account(OTHER))]
        return BakeSweeper(Ec2Leftovers(places, STORE, lambda: time.time() + self.at), self.store, NoGuard(), silent)

    def found(self, older_than: float = 0.0) -> list[tuple[str, str]]:
        return [(each.kind, each.id) for each in self.broom().find(older_than)]

    def swept(self, older_than: float = 0.0) -> list[tuple[str, str]]:
        broom = self.broom()
        return [(each.kind, each.id) for each in broom.sweep(broom.find(older_than))]

    def instance(self, given: dict[str, str], **more: Any) -> str:
        base = seeds.image(self.cloud, f"base-{time.monotonic_ns()}")
        answer = self.ec2.run_instances(
            ImageId=base, MinCount=1, MaxCount=1, TagSpecifications=specification("instance", given), **more
        )
        return str(answer["Instances"][0]["InstanceId"])

    def volume(self, given: dict[str, str]) -> str:
        return str(
            self.ec2.create_volume(
                AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=specification("volume", given)
            )["VolumeId"]
        )

    def key(self, name: str, given: dict[str, str]) -> str:
        self.ec2.create_key_pair(KeyName=name, TagSpecifications=specification("key-pair", given) if given else [])
        return name

    def snapshot(self, given: dict[str, str]) -> str:
        return str(
            self.ec2.create_snapshot(
                VolumeId=self.volume({"Name": "a"}), TagSpecifications=specification("snapshot", given)
            )["SnapshotId"]
        )

    def packer(self, hours: float) -> str:
        """A name as Packer gives it, this many hours ago."""
        return f"packer_{int(time.time() - hours * HOUR):08x}-1111-2222-3333-444444444444"


@pytest.fixture
def account(cloud: Cloud, tmp_path: Path) -> Account:
    return Account(cloud, FileStore(tmp_path))


def test_everything_that_a_killed_bake_left_is_found_and_removed(account: Account) -> None:
    image = seeds.image(account.cloud, "shop-1", tags())
    copy = seeds.image(account.cloud, "shop-1", tags(), region=OTHER)
    left = [
        ("build_instance", account.instance(tags())),
        ("key_pair", account.key("immutable-bake", tags())),
        ("build_volume", account.volume(tags())),
    ]
    left += [("image", image), ("image", copy), ("snapshot", account.snapshot(tags()))]
    assert set(account.found()) == set(left)
    assert set(account.swept()) == set(left)
    assert account.found() == []
    state = account.ec2.describe_instances(InstanceIds=[left[0][1]])["Reservations"][0]["Instances"][0]["State"]["Name"]
    assert state == "terminated" and account.ec2.describe_key_pairs()["KeyPairs"] == []
    for ec2 in (account.ec2, account.cloud.boto("ec2", OTHER)):
        own = [{"Name": "tag:immutable:store", "Values": [STORE]}]
        assert not ec2.describe_images(Filters=own)["Images"] and not ec2.describe_snapshots(Filters=own)["Snapshots"]


def test_young_resources_and_those_of_others_stay(account: Account) -> None:
    account.instance(tags(store="another"))
    account.instance({"immutable:store": STORE, "immutable:fleet": "shop-prod"})
    account.volume({"immutable:store": STORE, "immutable:volume": "uploads"})
    account.snapshot(tags(bake="not a bake"))
    seeds.image(account.cloud, "other")
    assert account.found() == []
    own = account.instance(tags())
    assert account.found(older_than=HOUR) == []
    account.at = 2 * HOUR
    assert account.found(older_than=HOUR) == [("build_instance", own)]


def test_resources_of_a_running_bake_stay(account: Account) -> None:
    own = account.instance(tags())
    other = account.instance(tags(bake="bake-bbbbbbbbbbbb"))
    with account.store.lock(BAKE, "bake shop"):
        assert account.found() == [("build_instance", other)]
    broom = account.broom()
    before = broom.find(0.0)
    with account.store.lock(BAKE, "bake shop"):  # it begins after the search
        assert [each.id for each in broom.sweep(before)] == [other]
    assert account.found() == [("build_instance", own)]


def recorded(account: Account, ami: str) -> None:
    artifact = {"ami": ami, "region": REGION, "name": "shop-1", "snapshots": [], "copies": {}}
    at = "2026-01-01T00:00:00+00:00"
    image = Image(
        digest="sha256:" + "a" * 64,
        build="aws-1-x86_64",
        service="shop",
        version="1",
        created=at,
        artifact=artifact,
        base={},
        inputs={},
    )
    Catalogue(account.store).add(image)


def test_images_on_record_their_copies_and_their_snapshots_stay(account: Account) -> None:
    image = seeds.image(account.cloud, "shop-1", tags())
    seeds.image(account.cloud, "shop-1", tags(), region=OTHER)  # a copy in progress
    broom = account.broom()
    before = broom.find(0.0)
    assert len(before) == 2
    recorded(account, image)  # the bake ends after the search
    assert broom.sweep(before) == [] and account.found() == []


def test_an_image_that_something_refers_to_stays_though_no_record_names_it(account: Account) -> None:
    image = seeds.image(account.cloud, "shop-1", tags())
    seeds.template(account.cloud, image, seeds.network(account.cloud))
    assert account.found() == []


def group(account: Account, name: str, given: dict[str, str] | None = None) -> str:
    vpc = account.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    tagged = {"TagSpecifications": specification("security-group", given)} if given else {}
    created = account.ec2.create_security_group(
        GroupName=name, Description="Temporary group for Packer", VpcId=vpc, **tagged
    )
    return str(created["GroupId"])


def test_a_name_of_packer_proves_nothing(account: Account) -> None:
    """Any Packer in the account gives such names, and nothing uses these."""
    account.key(account.packer(25), {})
    group(account, account.packer(25))
    assert account.found() == [] and account.swept() == []


def test_a_security_group_of_a_killed_bake_is_found_unless_it_is_in_use(account: Account) -> None:
    left, used = group(account, account.packer(1), tags()), group(account, account.packer(2), tags())
    group(account, account.packer(3), tags(store="another"))
    subnet = account.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    account.instance({"Name": "theirs"}, SecurityGroupIds=[used], SubnetId=subnet)
    assert account.found() == [("security_group", left)] and account.swept() == [("security_group", left)]
    assert account.found() == []


def test_a_resource_that_came_into_use_stays_and_is_not_reported_as_removed(account: Account) -> None:
    used, unused = group(account, account.packer(25), tags()), group(account, account.packer(26), tags())
    in_use = faults.refuse(400, "DependencyViolation", f"resource {used} has a dependent object")
    account.cloud.fault(in_use, action="DeleteSecurityGroup")
    assert len(account.swept()) == 1
    assert len(account.found()) == 1 and {used, unused} > {each for _kind, each in account.found()}
