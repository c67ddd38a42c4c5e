# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""EBS volumes, one call at a time, and a verification with its scratch volumes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    DefinitionError,
    ProviderError,
    VerifyError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2 import modifications
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.provider import Ec2Provider
from ansible_collections.immutable.infra.plugins.plugin_utils._verification.verify import Candidate, Verification
from ansible_collections.immutable.infra.tests.support.aws.faults import drop_after, refuse
from ansible_collections.immutable.infra.tests.support.aws.fleet import FLEET, TARGET, Shop, tags_of
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.swaplab import Clock

GIB = 1024**3


@pytest.fixture
def shop(cloud: Cloud, tmp_path: Path) -> Shop:
    created = Shop(cloud, tmp_path)
    created.document["fleet"]["size"] = 2
    created.document["data"] = [{"name": "orders", "size": "1G", "mount": "/srv/orders"}]
    return created


def volume_request(shop: Shop, slot: int = 0, size: int = GIB, name: str = "orders") -> VolumeRequest:
    return VolumeRequest(
        fleet=FLEET, slot=slot, name=name, size=size, mount="/srv/orders", kind="", zone=shop.network.zones[0]
    )


def test_a_volume_is_created_once_however_often_it_is_requested(shop: Shop) -> None:
    shop.cloud.fault(drop_after, "CreateVolume")
    volumes = shop.provider().volumes
    first = volumes.create([volume_request(shop), volume_request(shop, 1)])
    assert [each.id for each in volumes.create([volume_request(shop, 1), volume_request(shop)])] == [
        each.id for each in reversed(first)
    ]
    assert [(each.slot, each.name, each.size, each.kind, each.attached_to) for each in volumes.list(FLEET)] == [
        (slot, "orders", GIB, "gp3", None) for slot in (0, 1)
    ]


def test_a_new_volume_is_marked_as_blank_and_its_snapshots_are_not(shop: Shop) -> None:
    volumes = shop.provider().volumes
    (volume,) = volumes.create([volume_request(shop)])
    assert volume.created_blank and volumes.list(FLEET)[0].created_blank
    (described,) = shop.cloud.boto("ec2").describe_volumes(VolumeIds=[volume.id])["Volumes"]
    assert tags_of(described)["immutable:blank"] == "true"
    assert "immutable:blank" not in {tag["Key"] for tag in volumes._tags(volume)}


def test_a_volume_that_is_not_listed_yet_is_not_created_again(shop: Shop) -> None:
    shop.cloud.set(visible=30.0)
    first = shop.provider().volumes.create([volume_request(shop)])
    assert shop.provider().volumes.create([volume_request(shop)])[0].id == first[0].id


def test_a_removed_volume_is_created_again(shop: Shop) -> None:
    volumes = shop.provider().volumes
    (first,) = volumes.create([volume_request(shop)])
    volumes.remove([first.id])
    volumes.remove([first.id])
    (second,) = shop.provider().volumes.create([volume_request(shop)])
    assert second.id != first.id


def test_a_volume_of_another_store_is_not_removed(shop: Shop) -> None:
    """It has the same fleet, slot and name."""
    volumes, ec2 = shop.provider().volumes, shop.cloud.boto("ec2")
    (own,) = volumes.create([volume_request(shop)])
    tags = [
        {**tag, **({"Value": "another"} if tag["Key"] == "immutable:store" else {})} for tag in own_tags(ec2, own.id)
    ]
    other = ec2.create_volume(
        AvailabilityZone=own.zone, Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
    )["VolumeId"]
    volumes.remove([own.id, other])
    assert [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]] == [other]


def own_tags(ec2: Any, volume: str) -> list[dict[str, str]]:
    return list(ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Tags"])


def test_a_volume_that_others_removed_is_created_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = shop.provider().volumes.create([volume_request(shop)])
    shop.cloud.boto("ec2").delete_volume(VolumeId=first.id)
    volumes = shop.provider().volumes
    later = time.time() + 3600  # the answer of a spent token is old
    monkeypatch.setattr(time, "time", lambda: later)
    (second,) = volumes.create([volume_request(shop)])
    assert [each.id for each in volumes.list(FLEET)] == [second.id] != [first.id]


def test_a_volume_has_one_writer(shop: Shop, clock: Clock) -> None:
    shop.image("1.0.0")
    shop.run()
    provider = shop.provider()
    one, other = sorted(provider.compute.list(FLEET), key=lambda each: each.slot)
    attached, elsewhere = sorted(provider.volumes.list(FLEET), key=lambda each: each.slot)
    provider.volumes.attach([attached.id], one.id)
    with pytest.raises(ProviderError, match=f"{elsewhere.id} is attached to {other.id}"):
        provider.volumes.attach([elsewhere.id], one.id)
    with pytest.raises(ProviderError, match=f"{attached.id} belongs to {one.id}, which is running"):
        provider.volumes.detach([attached.id])
    shop.cloud.set(stop=60.0, now=clock.now)
    provider.compute.stop([one.id])
    with pytest.raises(ProviderError, match="which is stopping"):
        provider.volumes.detach([attached.id])
    clock.wait(60.0)
    assert next(each for each in provider.compute.list(FLEET) if each.id == one.id).state == "stopped"
    provider.volumes.detach([attached.id])
    provider.volumes.detach([attached.id])
    assert [each.attached_to for each in provider.volumes.list(FLEET) if each.id == attached.id] == [None]


def test_a_detached_volume_gets_a_snapshot_if_snapshots_are_enabled(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.document["fleet"]["size"] = 1
    shop.run()
    shop.image("2.0.0")
    shop.target["snapshots"] = True
    before = {each["SnapshotId"] for each in shop.cloud.boto("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]}
    shop.run()
    kept = [
        each
        for each in shop.cloud.boto("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
        if each["SnapshotId"] not in before
    ]
    (volume,) = shop.provider().volumes.list(FLEET)
    assert [each["VolumeId"] for each in kept] == [volume.id]
    assert tags_of(kept[0])["immutable:fleet"] == FLEET and tags_of(kept[0])["immutable:volume"] == "orders"
    done = [each.action for each in shop.cloud.calls("ec2", changing=True)]
    assert done.index("CreateSnapshot") < done.index("DetachVolume")


def test_volumes_grow_and_change_their_type_but_never_shrink(shop: Shop) -> None:
    volumes = shop.provider().volumes
    (one,) = volumes.create([volume_request(shop, size=2 * GIB)])
    volumes.modify([one.id], 5 * GIB, "io2")
    volumes.modify([one.id], 5 * GIB, "io2")
    assert [(each.size, each.kind) for each in volumes.list(FLEET)] == [(5 * GIB, "io2")]
    assert shop.cloud.count(action="ModifyVolume") == 1
    with pytest.raises(ProviderError, match="cannot shrink to 1 GiB"):
        volumes.modify([one.id], GIB, "")
    shop.cloud.fault(refuse(400, "IncorrectModificationState", "it is optimizing"), "ModifyVolume")
    with pytest.raises(ProviderError, match="run again later"):
        volumes.modify([one.id], 6 * GIB, "")


def verification(shop: Shop, provider: Ec2Provider) -> Verification:
    image = shop.image("1.0.0")
    definition = shop.definition()
    candidate = Candidate(image=image, definition=definition, target=definition.target(TARGET), settings={}, secrets={})
    return Verification(
        candidate=candidate,
        provider=provider,
        playbook=lambda *_arguments, **_options: None,
        guard=SimpleNamespace(check=lambda: None),
        report=lambda _line: None,
    )


def test_a_verification_removes_its_scratch_volumes(shop: Shop, clock: Clock) -> None:
    shop.cloud.set(visible=0.5, now=clock.now)
    provider = shop.provider()
    provider.clock = clock  # type: ignore[assignment]
    tested = verification(shop, provider).run(60)
    assert tested["checks"] == ["sealed itself and proved its image", "passed its health probe"]
    assert shop.cloud.count(action="AttachVolume") == 1
    assert shop.instances() == [] and shop.provider().volumes.list(f"verify-{FLEET}") == []


def test_a_candidate_that_never_boots_fails_with_its_console(shop: Shop, clock: Clock) -> None:
    shop.cloud.set(dead=frozenset({"*"}), now=clock.now)
    provider = shop.provider()
    provider.clock = clock  # type: ignore[assignment]
    with pytest.raises(VerifyError, match="not every test instance sealed itself in time.*Kernel panic"):
        verification(shop, provider).run(60)
    assert shop.instances() == []


def test_a_slot_has_its_volumes_in_one_zone(shop: Shop) -> None:
    volumes = shop.provider().volumes
    volumes.create([volume_request(shop)])
    (second,) = volumes.create([replace(volume_request(shop, name="more"), zone=shop.network.zones[1])])
    assert second.zone == shop.network.zones[0]


@pytest.mark.parametrize(("kind", "created", "grown"), [("gp3", None, None), ("io1", 200, 3000), ("io2", 3000, 3000)])
def test_types_that_need_it_are_created_with_iops(
    shop: Shop, kind: str, created: int | None, grown: int | None
) -> None:
    volumes, iops = shop.provider().volumes, []

    def note(params: dict[str, Any], model: Any, **_rest: Any) -> None:
        iops.append((model.name, params["body"].get("Iops")))

    events = volumes._clients.ec2.meta.events
    for call in ("CreateVolume", "ModifyVolume"):
        events.register(f"before-call.ec2.{call}", note)
    try:
        volumes.create([replace(volume_request(shop, size=4 * GIB), kind=kind)])
        (other,) = volumes.create([replace(volume_request(shop, 1), kind="gp2")])
        volumes.modify([other.id], 100 * GIB, kind)
    finally:
        for call in ("CreateVolume", "ModifyVolume"):
            events.unregister(f"before-call.ec2.{call}", note)
    assert iops == [("CreateVolume", created), ("CreateVolume", None), ("ModifyVolume", grown)]


def test_a_modification_that_is_not_listed_yet_is_awaited_and_an_old_failed_one_is_ignored(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = shop.provider().volumes
    (one,) = volumes.create([volume_request(shop)])
    before = [{"VolumeId": one.id, "TargetSize": 9, "TargetVolumeType": "gp3", "ModificationState": "failed"}]
    target = {"TargetSize": 2, "TargetVolumeType": "gp3"}
    answers = [
        [],
        before,
        *([{"VolumeId": one.id, "ModificationState": state, **target}] for state in ("modifying", "optimizing")),
    ]
    pages = SimpleNamespace(paginate=lambda **_asked: [{"VolumesModifications": answers.pop(0)}])
    real = volumes._clients.ec2.get_paginator
    monkeypatch.setattr(
        volumes._clients.ec2,
        "get_paginator",
        lambda name: pages if name == "describe_volumes_modifications" else real(name),
    )
    monkeypatch.setattr(modifications, "POLL_SECONDS", 0.0)
    volumes.modify([one.id], 2 * GIB, "")
    assert answers == []
    volumes.modify([one.id], 2 * GIB, "")
    answers.append(
        [
            {
                "VolumeId": one.id,
                "TargetSize": 3,
                "TargetVolumeType": "gp3",
                "ModificationState": "failed",
                "StatusMessage": "out of luck",
            }
        ]
    )
    with pytest.raises(ProviderError, match="modifying failed: .*out of luck"):
        volumes.modify([one.id], 3 * GIB, "")


def test_lists_are_read_in_pages(shop: Shop) -> None:
    provider = shop.provider()
    provider.volumes.list(FLEET)
    provider.compute.list(FLEET)
    for action in ("DescribeVolumes", "DescribeInstances"):
        assert {each.parameters.get("MaxResults") for each in shop.cloud.calls(action=action)} == {"1000"}


def test_a_volume_has_the_performance_and_the_key_that_are_declared(shop: Shop) -> None:
    """A run of the fleet changes the performance in place, and refuses another key."""
    definition = {"type": "gp3", "size": "20G", "iops": 4000, "throughput": 250, "kms_key": "alias/data"}
    shop.document["data"][0].update(definition)
    shop.document["fleet"]["size"] = 1
    shop.image("1.0.0")
    shop.run()

    def described() -> tuple[Any, ...]:
        (found,) = shop.cloud.boto("ec2").describe_volumes(
            Filters=[{"Name": "tag-key", "Values": ["immutable:volume"]}]
        )["Volumes"]
        return found["VolumeId"], found["Iops"], found["Throughput"], tags_of(found)["immutable:kms_key"]

    first = described()
    assert first[1:] == (4000, 250, "alias/data")
    (created,) = shop.cloud.calls("ec2", "CreateVolume")
    assert created.parameters["KmsKeyId"] == "alias/data"
    shop.document["data"][0].update(iops=6000, throughput=500)
    shop.run()
    assert described() == (first[0], 6000, 500, "alias/data")
    (changed,) = shop.cloud.calls("ec2", "ModifyVolume")
    assert {name for name in changed.parameters if name not in ("Version", "VolumeId")} == {"Iops", "Throughput"}
    del shop.document["data"][0]["iops"], shop.document["data"][0]["throughput"]
    shop.run()
    assert described()[1:3] == (6000, 500) and shop.cloud.count(action="ModifyVolume") == 1


@pytest.mark.parametrize("kind", ["st1", "sc1"])
def test_ebs_refuses_a_volume_that_is_too_small_for_its_type(shop: Shop, kind: str) -> None:
    """So does a definition, before anything is created."""
    with pytest.raises(ProviderError, match="for the type .* it must be from 125"):
        shop.provider().volumes.create([replace(volume_request(shop), kind=kind)])
    shop.document["data"][0]["type"] = kind
    with pytest.raises(DefinitionError, match=r"data\[0\].size: a volume of the type .* has 125 to 16384 GiB"):
        shop.definition()
