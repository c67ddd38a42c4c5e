# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of volumes, snapshots and images that moto lacks, through the real boto3 and the proxy."""

from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.account import AccountSetup, refused


def test_a_client_token_is_one_volume_copy_and_template_version(account: AccountSetup) -> None:
    assert account.volume(ClientToken="a") == account.volume(ClientToken="a")
    with refused("IdempotentParameterMismatch"):
        account.volume(ClientToken="a", Encrypted=True)
    there = account.cloud.boto("ec2", "eu-west-1", proxied=True)
    copy = {"SourceImageId": account.ami, "SourceRegion": "eu-central-1", "Name": "shop-1", "ClientToken": "c"}
    assert there.copy_image(**copy)["ImageId"] == there.copy_image(**copy)["ImageId"]
    template = seeds.template(account.cloud, account.ami, account.net)
    versions = [
        account.ec2.create_launch_template_version(
            LaunchTemplateId=template, ClientToken="v", LaunchTemplateData={"ImageId": account.ami}
        )["LaunchTemplateVersion"]
        for _repeated in range(2)
    ]
    assert [each["VersionNumber"] for each in versions] == [2, 2]


def test_a_volume_attaches_once_in_its_zone_to_a_running_or_stopped_instance(account: AccountSetup) -> None:
    account.cloud.set(launch=26, stop=10, volume=3)
    one, two = account.launch(2)
    volume = account.volume()
    attach = {"VolumeId": volume, "Device": "/dev/sdf"}
    with refused("IncorrectState"):
        account.ec2.attach_volume(**attach, InstanceId=one)  # creating
    account.clock.at = 4
    with refused("IncorrectState"):
        account.ec2.attach_volume(**attach, InstanceId=one)  # pending
    account.clock.at = 26
    far = account.volume(1)
    account.clock.at = 30
    with refused("InvalidVolume.ZoneMismatch"):
        account.ec2.attach_volume(VolumeId=far, Device="/dev/sdf", InstanceId=one)
    account.ec2.attach_volume(**attach, InstanceId=one)
    for each in (one, two):
        with refused("VolumeInUse"):
            account.ec2.attach_volume(**attach, InstanceId=each)
    account.ec2.detach_volume(VolumeId=volume)
    with refused("IncorrectState"):
        account.ec2.detach_volume(VolumeId=volume)


def test_an_instance_keeps_its_volumes_until_it_is_terminated(account: AccountSetup) -> None:
    account.cloud.set(stop=10)
    one, two = account.launch(2)
    volume = account.volume()
    account.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=one)
    with refused("InvalidParameterValue"):
        account.ec2.attach_volume(VolumeId=account.volume(), Device="/dev/sdf", InstanceId=one)
    account.ec2.terminate_instances(InstanceIds=[one])
    (described,) = account.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (described["State"], described["Attachments"][0]["InstanceId"]) == ("in-use", one)
    with refused("VolumeInUse"):
        account.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)
    with refused("VolumeInUse"):
        account.ec2.delete_volume(VolumeId=volume)
    account.clock.at = 10
    assert account.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"
    account.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)


def test_volumes_grow_slowly_and_not_too_often(account: AccountSetup) -> None:
    account.cloud.set(modify=60)
    volume = account.volume()
    with refused("InvalidParameterValue"):
        account.ec2.modify_volume(VolumeId=volume, Size=2)

    def state() -> str:
        (latest,) = account.ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
        return str(latest["ModificationState"])

    for size in (5, 6, 7, 8):
        assert (
            account.ec2.modify_volume(VolumeId=volume, Size=size)["VolumeModification"]["ModificationState"]
            == "modifying"
        )
        with refused("IncorrectModificationState"):
            account.ec2.modify_volume(VolumeId=volume, Size=9)
        assert state() == "optimizing"
        account.clock.at += 60
        assert state() == "completed"
    with refused("VolumeModificationRateExceeded"):
        account.ec2.modify_volume(VolumeId=volume, Size=9)
    account.clock.at = 24 * 3600
    account.ec2.modify_volume(VolumeId=volume, Size=9)


def test_snapshots_and_images_take_time(account: AccountSetup) -> None:
    account.cloud.set(snapshot=30, image=30)
    snapshot = account.ec2.create_snapshot(VolumeId=account.volume())
    tags = [{"Key": "owner", "Value": "1"}]
    there = account.cloud.boto("ec2", "eu-west-1", proxied=True)
    kinds = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    copy = there.copy_image(
        SourceImageId=account.ami, SourceRegion="eu-central-1", Name="shop-1", Encrypted=True, TagSpecifications=kinds
    )["ImageId"]

    def states() -> tuple[str, str, str]:
        described = account.ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"][0]
        return snapshot["State"], described["State"], there.describe_images(ImageIds=[copy])["Images"][0]["State"]

    assert states() == ("pending", "pending", "pending")
    account.clock.at = 30
    assert states() == ("pending", "completed", "available")
    image = there.describe_images(ImageIds=[copy])["Images"][0]
    assert (image["Tags"], image["RootDeviceType"], image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]) == (
        tags,
        "ebs",
        True,
    )
    assert (
        account.ec2.describe_images(ImageIds=[account.ami])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
        is False
    )
    assert (
        there.describe_snapshots(SnapshotIds=[image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]])["Snapshots"][0][
            "Tags"
        ]
        == tags
    )
    with refused("InvalidAMIName.Duplicate"):
        account.ec2.register_image(Name="shop-1", RootDeviceName="/dev/xvda")


def test_deregistering_an_image_deletes_its_snapshots_on_request(account: AccountSetup) -> None:
    other = seeds.image(account.cloud, "shop-2")

    def snapshots() -> int:
        return len(account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])

    assert snapshots() == 2
    account.ec2.deregister_image(ImageId=account.ami)
    assert snapshots() == 2
    account.ec2.deregister_image(ImageId=other, DeleteAssociatedSnapshots=True)
    assert snapshots() == 1
