# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each rule that makes up for moto, seen by the real boto3 through the proxy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.rules import RULES
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

DOCS = Path(__file__).resolve().parents[3] / "docs/explanation/aws-testing.md"


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


class Stage:
    """An account with a network, an AMI and a balancer, and what a test does there."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.clock = cloud, Clock()
        self.net = seeds.network(cloud)
        self.ami = seeds.image(cloud, "shop-1")
        self.ec2, self.elb = cloud.boto("ec2", proxied=True), cloud.boto("elbv2", proxied=True)
        cloud.set(now=self.clock)

    def run(self, count: int = 1, **more: Any) -> list[str]:
        asked = {
            "ImageId": self.ami,
            "MinCount": count,
            "MaxCount": count,
            "InstanceType": "t3.micro",
            "SubnetId": self.net.subnets[0],
            **more,
        }
        return [each["InstanceId"] for each in self.ec2.run_instances(**asked)["Instances"]]

    def seen(self, **asked: Any) -> dict[str, str]:
        pages = self.ec2.get_paginator("describe_instances").paginate(**asked)
        return {
            each["InstanceId"]: each["State"]["Name"]
            for page in pages
            for group in page["Reservations"]
            for each in group["Instances"]
        }

    def volume(self, zone: int = 0, **more: Any) -> str:
        return str(
            self.ec2.create_volume(AvailabilityZone=self.net.zones[zone], Size=4, VolumeType="gp3", **more)["VolumeId"]
        )

    def health(self, group: str) -> dict[str, str]:
        members = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in members}


@pytest.fixture
def stage(cloud: Cloud) -> Stage:
    return Stage(cloud)


def refused(code: str) -> Any:
    from botocore.exceptions import ClientError

    return pytest.raises(ClientError, match=rf"\({code}\)")


def test_every_rule_says_what_aws_does_and_where_that_is_written() -> None:
    assert all(rule.fact and rule.page.startswith("https://docs.aws.amazon.com/") for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    docs = DOCS.read_text()
    assert [rule.name for rule in RULES if f"| {rule.name} |" not in docs or rule.page not in docs] == []


def test_a_client_token_is_one_launch(stage: Stage) -> None:
    first = stage.run(2, ClientToken="a")
    assert stage.run(2, ClientToken="a") == first
    assert stage.run(2, ClientToken="b") != first
    with refused("IdempotentParameterMismatch"):
        stage.run(3, ClientToken="a")
    assert len(stage.seen()) == 4
    stage.ec2.terminate_instances(InstanceIds=first)
    with refused("IdempotentInstanceTerminated"):
        stage.run(2, ClientToken="a")


def test_a_client_token_counts_in_one_zone(stage: Stage) -> None:
    here, there = (stage.run(ClientToken="a", SubnetId=subnet) for subnet in stage.net.subnets)
    assert here != there
    assert stage.run(ClientToken="a") == here


def test_launches_at_once_with_one_token_are_one(stage: Stage) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({tuple(ids) for ids in pool.map(lambda _n: stage.run(ClientToken="a"), range(8))}) == 1
    assert len(stage.seen()) == 1


def test_a_client_token_is_one_volume_copy_and_template_version(stage: Stage) -> None:
    assert stage.volume(ClientToken="a") == stage.volume(ClientToken="a")
    with refused("IdempotentParameterMismatch"):
        stage.volume(ClientToken="a", Encrypted=True)
    there = stage.cloud.boto("ec2", "eu-west-1", proxied=True)
    copy = {"SourceImageId": stage.ami, "SourceRegion": "eu-central-1", "Name": "shop-1", "ClientToken": "c"}
    assert there.copy_image(**copy)["ImageId"] == there.copy_image(**copy)["ImageId"]
    template = seeds.template(stage.cloud, stage.ami, stage.net)
    versions = [
        stage.ec2.create_launch_template_version(
            LaunchTemplateId=template, ClientToken="v", LaunchTemplateData={"ImageId": stage.ami}
        )["LaunchTemplateVersion"]
        for _time in range(2)
    ]
    assert [each["VersionNumber"] for each in versions] == [2, 2]


def test_launching_and_ending_take_their_time(stage: Stage) -> None:
    stage.cloud.set(launch=26, stop=10)
    one, two = stage.run(2)
    assert stage.seen() == {one: "pending", two: "pending"}
    assert stage.seen(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {}
    stage.clock.at = 26
    assert stage.seen(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {
        one: "running",
        two: "running",
    }
    stage.ec2.stop_instances(InstanceIds=[one])
    stage.ec2.terminate_instances(InstanceIds=[two])
    assert stage.seen() == {one: "stopping", two: "shutting-down"}
    with refused("IncorrectInstanceState"):
        stage.ec2.start_instances(InstanceIds=[one])
    stage.clock.at = 36
    assert stage.seen() == {one: "stopped", two: "terminated"}
    stage.ec2.start_instances(InstanceIds=[one])
    assert stage.seen()[one] == "pending"


def test_what_hangs_while_it_stops_is_ended_by_force(stage: Stage) -> None:
    (one,) = stage.run()
    stage.cloud.set(hung=frozenset({one}))
    stage.ec2.stop_instances(InstanceIds=[one])
    stage.clock.at = 900
    assert stage.seen() == {one: "stopping"}
    stage.ec2.stop_instances(InstanceIds=[one], Force=True)
    assert stage.seen() == {one: "stopped"}


def test_what_is_new_may_not_be_seen_yet(stage: Stage) -> None:
    stage.cloud.set(visible=2)
    (one,) = stage.run()
    stage.volume(TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "mine", "Value": "1"}]}])
    mine = [{"Name": "tag:mine", "Values": ["1"]}]
    assert (stage.seen(), stage.ec2.describe_volumes(Filters=mine)["Volumes"]) == ({}, [])
    with refused("InvalidInstanceID.NotFound"):
        stage.seen(InstanceIds=[one])
    stage.clock.at = 2
    assert (len(stage.seen()), len(stage.ec2.describe_volumes(Filters=mine)["Volumes"])) == (1, 1)


def test_instances_are_found_by_their_client_token(stage: Stage) -> None:
    (one,) = stage.run(ClientToken="a")
    stage.run(ClientToken="b")
    assert stage.seen(
        Filters=[{"Name": "client-token", "Values": ["a"]}, {"Name": "image-id", "Values": [stage.ami]}]
    ) == {one: "running"}


def test_a_launch_is_refused_for_what_aws_refuses(stage: Stage) -> None:
    stage.cloud.set(no_capacity=frozenset({stage.net.zones[0]}))
    with refused("InsufficientInstanceCapacity"):
        stage.run()
    assert len(stage.run(SubnetId=stage.net.subnets[1])) == 1
    stage.cloud.set(no_capacity=frozenset())
    with refused("InvalidParameterValue"):
        stage.run(UserData="x" * 16_385)
    with refused("InvalidParameterValue"):
        stage.run(IamInstanceProfile={"Name": "none"})
    with refused("InvalidParameterValue"):
        stage.run(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "aws:mine", "Value": "1"}]}])
    with refused("InvalidAMIID.NotFound"):
        stage.run(ImageId="ami-0123456789abcdef0")
    (one,) = stage.run(UserData="x" * 16_384)
    assert stage.cloud.user_data(one) == "x" * 16_384


def test_a_volume_is_attached_once_near_and_to_what_runs_or_is_stopped(stage: Stage) -> None:
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


def test_what_shuts_down_has_its_volumes_until_it_is_down(stage: Stage) -> None:
    stage.cloud.set(stop=10)
    one, two = stage.run(2)
    volume = stage.volume()
    stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=one)
    with refused("InvalidParameterValue"):
        stage.ec2.attach_volume(VolumeId=stage.volume(), Device="/dev/sdf", InstanceId=one)
    stage.ec2.terminate_instances(InstanceIds=[one])
    (told,) = stage.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (told["State"], told["Attachments"][0]["InstanceId"]) == ("in-use", one)
    with refused("VolumeInUse"):
        stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)
    with refused("VolumeInUse"):
        stage.ec2.delete_volume(VolumeId=volume)
    stage.clock.at = 10
    assert stage.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"
    stage.ec2.attach_volume(VolumeId=volume, Device="/dev/sdf", InstanceId=two)


def test_volumes_grow_slowly_and_not_too_often(stage: Stage) -> None:
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


def test_snapshots_and_images_take_their_time(stage: Stage) -> None:
    stage.cloud.set(snapshot=30, image=30)
    snapshot = stage.ec2.create_snapshot(VolumeId=stage.volume())
    tags = [{"Key": "mine", "Value": "1"}]
    there = stage.cloud.boto("ec2", "eu-west-1", proxied=True)
    kinds = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    copy = there.copy_image(
        SourceImageId=stage.ami, SourceRegion="eu-central-1", Name="shop-1", Encrypted=True, TagSpecifications=kinds
    )["ImageId"]

    def states() -> tuple[str, str, str]:
        told = stage.ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"][0]
        return snapshot["State"], told["State"], there.describe_images(ImageIds=[copy])["Images"][0]["State"]

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


def test_an_image_takes_its_snapshots_along_where_asked_to(stage: Stage) -> None:
    other = seeds.image(stage.cloud, "shop-2")

    def snapshots() -> int:
        return len(stage.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])

    assert snapshots() == 2
    stage.ec2.deregister_image(ImageId=stage.ami)
    assert snapshots() == 2
    stage.ec2.deregister_image(ImageId=other, DeleteAssociatedSnapshots=True)
    assert snapshots() == 1


def test_a_template_version_takes_from_its_source_what_it_does_not_say(stage: Stage) -> None:
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


def test_the_console_tells_what_the_instance_was_launched_with(stage: Stage) -> None:
    stage.cloud.set(launch=10, console_delay=5, shell="restricted")
    tags = [{"Key": "immutable:image", "Value": "sha256:1"}, {"Key": "immutable:nonce", "Value": "n"}]
    (one,) = stage.run(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}], UserData="settings")

    def console() -> str:
        return str(stage.ec2.get_console_output(InstanceId=one, Latest=True).get("Output", ""))

    assert console() == ""
    stage.clock.at = 14
    assert console() == ""
    stage.clock.at = 15
    evidence = parse_evidence(console())
    assert evidence is not None
    assert (evidence.digest, evidence.nonce, evidence.shell) == ("sha256:1", "n", "restricted")
    stage.cloud.set(console=lambda instance, told: f"{instance} {told['UserData']} {told['ImageId']}")
    assert console() == f"{one} settings {stage.ami}"
    stage.cloud.set(dead=frozenset({stage.ami}))
    assert parse_evidence(console()) is None and "panic" in console()


def test_targets_become_healthy_and_drain_in_their_time(stage: Stage) -> None:
    stage.cloud.set(launch=5, health=10, drain=0.1)
    group = seeds.balancer(stage.cloud, stage.net).groups[0]
    stage.elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "100"}]
    )
    one, two = stage.run(2)
    both = [{"Id": one}, {"Id": two}]
    with refused("InvalidTarget"):
        stage.elb.register_targets(TargetGroupArn=group, Targets=both)
    stage.clock.at = 5
    with refused("InvalidTarget"):
        stage.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "i-00000000000000000"}])
    stage.elb.register_targets(TargetGroupArn=group, Targets=both)
    assert stage.health(group) == {one: "initial", two: "initial"}
    stage.clock.at = 15
    assert stage.health(group) == {one: "healthy", two: "healthy"}
    stage.cloud.set(healthy=lambda instance, _group: instance == one)
    assert stage.health(group) == {one: "healthy", two: "unhealthy"}
    stage.elb.deregister_targets(TargetGroupArn=group, Targets=both)
    assert stage.health(group) == {one: "draining", two: "draining"}
    told = stage.elb.describe_target_health(TargetGroupArn=group, Targets=[{"Id": one, "Port": 8080}])[
        "TargetHealthDescriptions"
    ][0]["TargetHealth"]
    assert (told["State"], told["Reason"]) == ("draining", "Target.DeregistrationInProgress")
    stage.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    assert stage.health(group) == {one: "initial", two: "draining"}
    stage.clock.at = 25
    assert stage.health(group) == {one: "healthy"}


def test_a_group_that_nothing_forwards_to_is_unused(stage: Stage) -> None:
    group = stage.elb.create_target_group(Name="alone", Protocol="HTTP", Port=80, VpcId=stage.net.vpc)["TargetGroups"][
        0
    ]["TargetGroupArn"]
    (one,) = stage.run()
    stage.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    assert stage.health(group) == {one: "unused"}
    spare = seeds.balancer(stage.cloud, stage.net, 2).groups[1]  # the listener forwards to it with weight 0
    stage.elb.register_targets(TargetGroupArn=spare, Targets=[{"Id": one}])
    assert stage.health(spare) == {one: "healthy"}


def test_instances_of_a_dead_image_never_become_healthy(stage: Stage) -> None:
    group = seeds.balancer(stage.cloud, stage.net).groups[0]
    (one,) = stage.run()
    stage.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    stage.cloud.set(dead=frozenset({stage.ami}))
    assert stage.health(group) == {one: "unhealthy"}


def test_an_instance_is_lost_to_spot(stage: Stage) -> None:
    (one,) = stage.run()
    stage.cloud.lose(one)
    told = stage.ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
    assert (told["State"]["Name"], told["StateReason"]["Code"]) == ("terminated", "Server.SpotInstanceTermination")


def test_parameters_and_buckets_keep_to_their_bounds(cloud: Cloud) -> None:
    ssm, s3 = cloud.boto("ssm", proxied=True), cloud.boto("s3", proxied=True)
    with refused("ValidationException"):
        ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String")
    ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String", Tier="Advanced")
    s3.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert s3.get_public_access_block(Bucket="records")["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    rules = s3.get_bucket_encryption(Bucket="records")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_of_conditional_writers_at_once_one_succeeds(cloud: Cloud) -> None:
    from botocore.exceptions import ClientError

    """moto does that by itself: no rule is needed."""
    s3, bucket = cloud.boto("s3", proxied=True), seeds.bucket(cloud)

    def write(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="lease", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(16))) == 1
