# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules for volumes, snapshots, images and launch templates, tested with the real boto3 through the proxy."""

from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.stage import Stage, refused


def test_a_volume_is_attached_once_in_its_zone_to_a_running_or_stopped_instance(stage: Stage) -> None:
    stage.cloud.set(launch=26, stop=10, volume=3)
    one, two = stage.run(2)
    volume = stage.volume()
    attach = {"VolumeId": volume, "Device": "/dev/sdf"}
    with refused("IncorrectState"):
        stage.ec2.attach_volume(**attach, InstanceId=one)  # creating
    stage.clock.at = 4
    with refused("IncorrectState"):
        stage.ec2.attach_volume(**attach, InstanceId=one)  # pending
    stage.clock.at = 26
    far = stage.volume(1)
    stage.clock.at = 30
    with refused("InvalidVolume.ZoneMismatch"):
        stage.ec2.attach_volume(VolumeId=far, Device="/dev/sdf", InstanceId=one)
    stage.ec2.attach_volume(**attach, InstanceId=one)
    for each in (one, two):
        with refused("VolumeInUse"):
            stage.ec2.attach_volume(**attach, InstanceId=each)
    stage.ec2.detach_volume(VolumeId=volume)
    with refused("IncorrectState"):
        stage.ec2.detach_volume(VolumeId=volume)


def test_an_instance_keeps_its_volumes_until_it_is_down(stage: Stage) -> None:
    stage.cloud.set(stop=10)
    one, two = stage.run(2)
    volume = stage.volume()
    stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=one)
    with refused("InvalidParameterValue"):
        stage.ec2.attach_volume(VolumeId=stage.volume(), Device="/dev/sdf", InstanceId=one)
    stage.ec2.terminate_instances(InstanceIds=[one])
    (volume_now,) = stage.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (volume_now["State"], volume_now["Attachments"][0]["InstanceId"]) == ("in-use", one)
    with refused("VolumeInUse"):
        stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)
    with refused("VolumeInUse"):
        stage.ec2.delete_volume(VolumeId=volume)
    stage.clock.at = 10
    assert stage.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"
    stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)


def test_volumes_only_grow_and_modifications_are_limited(stage: Stage) -> None:
    stage.cloud.set(modify=60)
    volume = stage.volume()
    with refused("InvalidParameterValue"):
        stage.ec2.modify_volume(VolumeId=volume, Size=2)

    def state() -> str:
        (latest,) = stage.ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
        return str(latest["ModificationState"])

    for size in (5, 6, 7, 8):
        assert (
            stage.ec2.modify_volume(VolumeId=volume, Size=size)["VolumeModification"]["ModificationState"]
            == "optimizing"
        )
        with refused("IncorrectModificationState"):
            stage.ec2.modify_volume(VolumeId=volume, Size=9)
        assert state() == "optimizing"
        stage.clock.at += 60
        assert state() == "completed"
    with refused("VolumeModificationRateExceeded"):
        stage.ec2.modify_volume(VolumeId=volume, Size=9)
    stage.clock.at = 24 * 3600
    stage.ec2.modify_volume(VolumeId=volume, Size=9)


def test_snapshots_and_images_take_time(stage: Stage) -> None:
    stage.cloud.set(snapshot=30, image=30)
    snapshot = stage.ec2.create_snapshot(VolumeId=stage.volume())
    tags = [{"Key": "own", "Value": "1"}]
    there = stage.cloud.boto("ec2", "eu-west-1", proxied=True)
    kinds = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    copy = there.copy_image(
        SourceImageId=stage.ami, SourceRegion="eu-central-1", Name="shop-1", Encrypted=True, TagSpecifications=kinds
    )["ImageId"]

    def states() -> tuple[str, str, str]:
        described = stage.ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"][0]
        return snapshot["State"], described["State"], there.describe_images(ImageIds=[copy])["Images"][0]["State"]

    assert states() == ("pending", "pending", "pending")
    stage.clock.at = 30
    assert states() == ("pending", "completed", "available")
    image = there.describe_images(ImageIds=[copy])["Images"][0]
    assert (image["Tags"], image["RootDeviceType"], image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]) == (
        tags,
        "ebs",
        True,
    )
    assert (
        stage.ec2.describe_images(ImageIds=[stage.ami])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
        is False
    )
    assert (
        there.describe_snapshots(SnapshotIds=[image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]])["Snapshots"][0][
            "Tags"
        ]
        == tags
    )
    with refused("InvalidAMIName.Duplicate"):
        stage.ec2.register_image(Name="shop-1", RootDeviceName="/dev/xvda")


def test_deregistering_an_image_can_delete_its_snapshots(stage: Stage) -> None:
    other = seeds.image(stage.cloud, "shop-2")

    def snapshots() -> int:
        return len(stage.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])

    assert snapshots() == 2
    stage.ec2.deregister_image(ImageId=stage.ami)
    assert snapshots() == 2
    stage.ec2.deregister_image(ImageId=other, DeleteAssociatedSnapshots=True)
    assert snapshots() == 1


def test_a_template_version_inherits_from_its_source(stage: Stage) -> None:
    template = seeds.template(stage.cloud, stage.ami, stage.net)
    other = seeds.image(stage.cloud, "shop-2")
    made = stage.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": other}
    )
    assert made["LaunchTemplateVersion"]["LaunchTemplateData"] == {
        "ImageId": other,
        "InstanceType": "t3.micro",
        "SecurityGroupIds": [stage.net.group],
    }
