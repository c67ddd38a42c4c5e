# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each rule that corrects moto, tested with the real boto3 through the proxy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.rules import RULES
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.stage import Stage, refused

DOCS = Path(__file__).resolve().parents[3] / "docs/explanation/aws-testing.md"


def test_every_rule_has_a_fact_and_its_source() -> None:
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
    assert len(stage.states()) == 4
    stage.ec2.terminate_instances(InstanceIds=first)
    with refused("IdempotentInstanceTerminated"):
        stage.run(2, ClientToken="a")


def test_a_client_token_counts_in_one_zone(stage: Stage) -> None:
    here, there = (stage.run(ClientToken="a", SubnetId=subnet) for subnet in stage.net.subnets)
    assert here != there
    assert stage.run(ClientToken="a") == here


def test_concurrent_launches_with_one_token_launch_once(stage: Stage) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({tuple(ids) for ids in pool.map(lambda _n: stage.run(ClientToken="a"), range(8))}) == 1
    assert len(stage.states()) == 1


def test_a_client_token_creates_one_volume_copy_and_template_version(stage: Stage) -> None:
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


def test_launching_and_stopping_take_time(stage: Stage) -> None:
    stage.cloud.set(launch=26, stop=10)
    one, two = stage.run(2)
    assert stage.states() == {one: "pending", two: "pending"}
    assert stage.states(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {}
    stage.clock.at = 26
    assert stage.states(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {
        one: "running",
        two: "running",
    }
    stage.ec2.stop_instances(InstanceIds=[one])
    stage.ec2.terminate_instances(InstanceIds=[two])
    assert stage.states() == {one: "stopping", two: "shutting-down"}
    with refused("IncorrectInstanceState"):
        stage.ec2.start_instances(InstanceIds=[one])
    stage.clock.at = 36
    assert stage.states() == {one: "stopped", two: "terminated"}
    stage.ec2.start_instances(InstanceIds=[one])
    assert stage.states()[one] == "pending"


def test_a_stop_that_hangs_can_be_forced(stage: Stage) -> None:
    (one,) = stage.run()
    stage.cloud.set(hung=frozenset({one}))
    stage.ec2.stop_instances(InstanceIds=[one])
    stage.clock.at = 900
    assert stage.states() == {one: "stopping"}
    stage.ec2.stop_instances(InstanceIds=[one], Force=True)
    assert stage.states() == {one: "stopped"}


def test_a_new_resource_may_not_be_visible_yet(stage: Stage) -> None:
    stage.cloud.set(visible=2)
    (one,) = stage.run()
    stage.volume(TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "own", "Value": "1"}]}])
    own = [{"Name": "tag:own", "Values": ["1"]}]
    assert (stage.states(), stage.ec2.describe_volumes(Filters=own)["Volumes"]) == ({}, [])
    with refused("InvalidInstanceID.NotFound"):
        stage.states(InstanceIds=[one])
    stage.clock.at = 2
    assert (len(stage.states()), len(stage.ec2.describe_volumes(Filters=own)["Volumes"])) == (1, 1)


def test_instances_are_found_by_client_token(stage: Stage) -> None:
    (one,) = stage.run(ClientToken="a")
    stage.run(ClientToken="b")
    assert stage.states(
        Filters=[{"Name": "client-token", "Values": ["a"]}, {"Name": "image-id", "Values": [stage.ami]}]
    ) == {one: "running"}


def test_launches_that_aws_refuses_are_refused(stage: Stage) -> None:
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
        stage.run(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "aws:own", "Value": "1"}]}])
    with refused("InvalidAMIID.NotFound"):
        stage.run(ImageId="ami-0123456789abcdef0")
    (one,) = stage.run(UserData="x" * 16_384)
    assert stage.cloud.user_data(one) == "x" * 16_384


def test_the_console_shows_what_the_instance_was_launched_with(stage: Stage) -> None:
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
    stage.cloud.set(console=lambda instance, launch: f"{instance} {launch['UserData']} {launch['ImageId']}")
    assert console() == f"{one} settings {stage.ami}"
    stage.cloud.set(dead=frozenset({stage.ami}))
    assert parse_evidence(console()) is None and "panic" in console()


def test_targets_take_time_to_become_healthy_and_to_drain(stage: Stage) -> None:
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
    target = stage.elb.describe_target_health(TargetGroupArn=group, Targets=[{"Id": one, "Port": 8080}])[
        "TargetHealthDescriptions"
    ][0]["TargetHealth"]
    assert (target["State"], target["Reason"]) == ("draining", "Target.DeregistrationInProgress")
    stage.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    assert stage.health(group) == {one: "initial", two: "draining"}
    stage.clock.at = 25
    assert stage.health(group) == {one: "healthy"}


def test_a_group_without_a_listener_is_unused(stage: Stage) -> None:
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


def test_a_spot_instance_can_be_lost(stage: Stage) -> None:
    (one,) = stage.run()
    stage.cloud.lose(one)
    instance = stage.ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
    assert (instance["State"]["Name"], instance["StateReason"]["Code"]) == (
        "terminated",
        "Server.SpotInstanceTermination",
    )


def test_parameters_have_a_maximum_size_and_buckets_are_private(cloud: Cloud) -> None:
    ssm, s3 = cloud.boto("ssm", proxied=True), cloud.boto("s3", proxied=True)
    with refused("ValidationException"):
        ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String")
    ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String", Tier="Advanced")
    s3.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert s3.get_public_access_block(Bucket="records")["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    rules = s3.get_bucket_encryption(Bucket="records")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_one_of_concurrent_conditional_writes_succeeds(cloud: Cloud) -> None:
    """moto does that without a rule."""
    from botocore.exceptions import ClientError

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
