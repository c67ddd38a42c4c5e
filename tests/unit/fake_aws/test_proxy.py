# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proxy in front of moto, tested with the real boto3."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients, aws_errors
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.tests.support.aws import faults, seeds
from ansible_collections.immutable.infra.tests.support.aws.account import refused
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.server import cloud as serve
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE


def test_calls_of_every_protocol_pass_and_are_logged_by_name(cloud: Cloud) -> None:
    clients = Clients(cloud.account())
    clients.ec2.describe_instances()
    clients.client("elbv2").describe_load_balancers()
    clients.client("autoscaling").describe_auto_scaling_groups()
    clients.client("ssm").put_parameter(Name="/a", Value="1", Type="String")
    s3 = clients.client("s3")
    cloud.boto("s3", proxied=True).create_bucket(
        Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    s3.put_object(Bucket="records", Key="a/b", Body=b"x" * 100_000, IfNoneMatch="*")
    assert s3.head_object(Bucket="records", Key="a/b")["ContentLength"] == 100_000
    assert s3.get_object(Bucket="records", Key="a/b")["Body"].read() == b"x" * 100_000
    s3.list_objects_v2(Bucket="records")
    assert clients.account_id == "123456789012"
    assert [(call.service, call.action, call.status) for call in cloud.calls()] == [
        ("ec2", "DescribeInstances", 200),
        ("elasticloadbalancing", "DescribeLoadBalancers", 200),
        ("autoscaling", "DescribeAutoScalingGroups", 200),
        ("ssm", "PutParameter", 200),
        ("s3", "CreateBucket", 200),
        ("s3", "PutObject", 200),
        ("s3", "HeadObject", 200),
        ("s3", "GetObject", 200),
        ("s3", "ListObjectsV2", 200),
        ("sts", "GetCallerIdentity", 200),
    ]
    assert (cloud.count(changing=True), cloud.count(changing=False), cloud.count(action="PutObject")) == (3, 7, 1)
    assert cloud.calls(action="PutObject")[0].parameters == {"Bucket": "records", "Key": "a/b", "if-none-match": "*"}


def test_each_test_begins_with_an_empty_account(cloud: Cloud) -> None:
    assert cloud.boto("s3").list_buckets()["Buckets"] == []
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("effect", "codes"),
    [
        (
            faults.throttle,
            ["RequestLimitExceeded", "Throttling", "Throttling", "ThrottlingException", "SlowDown", "Throttling"],
        ),
        (
            faults.expired,
            ["RequestExpired", "ExpiredToken", "ExpiredToken", "ExpiredTokenException", "ExpiredToken", "ExpiredToken"],
        ),
        (
            faults.denied,
            [
                "UnauthorizedOperation",
                "AccessDenied",
                "AccessDenied",
                "AccessDeniedException",
                "AccessDenied",
                "AccessDenied",
            ],
        ),
        (
            faults.broken(503),
            [
                "Unavailable",
                "InternalFailure",
                "InternalFailure",
                "InternalFailure",
                "ServiceUnavailable",
                "InternalFailure",
            ],
        ),
    ],
)
def test_errors_have_the_codes_of_each_service(cloud: Cloud, effect: faults.Effect, codes: list[str]) -> None:
    cloud.fault(effect, times=0)
    services = [cloud.boto(name, proxied=True) for name in ("ec2", "elbv2", "autoscaling", "ssm", "s3", "sns")]
    ec2, elb, asg, ssm, s3, sns = services
    calls = (
        ec2.describe_instances,
        elb.describe_load_balancers,
        asg.describe_auto_scaling_groups,
        ssm.describe_parameters,
        s3.list_buckets,
        sns.list_topics,
    )
    for call, code in zip(calls, codes, strict=True):
        with refused(code):
            call()


def test_a_fault_applies_only_to_the_calls_it_names(cloud: Cloud) -> None:
    ec2 = cloud.boto("ec2", proxied=True)
    fault = cloud.fault(faults.denied, "DescribeVolumes", nth=2, times=2)
    ec2.describe_instances()
    ec2.describe_volumes()
    for _time in range(2):
        with refused("UnauthorizedOperation"):
            ec2.describe_volumes()
    ec2.describe_volumes()
    assert fault.met == 2


def test_a_call_with_a_lost_answer_is_retried_and_has_one_effect(cloud: Cloud) -> None:
    ami, net = seeds.image(cloud, "shop"), seeds.network(cloud)
    cloud.fault(faults.drop_after, "RunInstances")
    cloud.fault(faults.drop, "RunInstances", nth=2)
    clients = Clients(cloud.account())
    ids = [
        each["InstanceId"]
        for each in clients.ec2.run_instances(ImageId=ami, MinCount=1, MaxCount=1, SubnetId=net.subnets[0])["Instances"]
    ]
    assert [call.status for call in cloud.calls(action="RunInstances")] == [0, 0, 200]
    cloud.proxy.forget()  # the collection itself never launches without tags
    assert [
        each["InstanceId"]
        for group in cloud.boto("ec2").describe_instances()["Reservations"]
        for each in group["Instances"]
    ] == ids


@pytest.mark.parametrize(("nth", "late", "left"), [(2, False, ["/1", "/2"]), (2, True, ["/2"])])
def test_a_caller_is_killed_before_or_after_a_change(cloud: Cloud, nth: int, late: bool, left: list[str]) -> None:
    for number in range(3):
        cloud.boto("ssm").put_parameter(Name=f"/{number}", Value="1", Type="String")
    with subprocess.Popen(
        [sys.executable, "-c", CHANGES], stdin=subprocess.PIPE, env={**os.environ, **cloud.environment()}
    ) as caller:
        cloud.kill_at_change(nth, caller.pid, late)
        assert caller.stdin is not None
        caller.stdin.close()
        assert caller.wait() == -signal.SIGKILL
    assert sorted(each["Name"] for each in cloud.boto("ssm").describe_parameters()["Parameters"]) == left


def test_an_instance_is_lost_between_two_calls(cloud: Cloud) -> None:
    ami, net = seeds.image(cloud, "shop"), seeds.network(cloud)
    ec2 = cloud.boto("ec2", proxied=True)
    (one,) = (
        each["InstanceId"]
        for each in ec2.run_instances(ImageId=ami, MinCount=1, MaxCount=1, SubnetId=net.subnets[0])["Instances"]
    )
    cloud.fault(faults.before(lambda: cloud.lose(one)), "DescribeInstances", nth=2)
    states = [ec2.describe_instances()["Reservations"][0]["Instances"][0]["State"]["Name"] for _time in range(2)]
    assert states == ["running", "terminated"]


CHANGES = """
import sys, boto3
ssm = boto3.client("ssm")
sys.stdin.read()
for each in sorted(found["Name"] for found in ssm.describe_parameters()["Parameters"]):
    ssm.delete_parameter(Name=each)
"""


def test_a_call_that_moto_lacks_fails_at_once(cloud: Cloud) -> None:
    cloud.boto("autoscaling").create_launch_configuration(
        LaunchConfigurationName="l", ImageId=seeds.image(cloud, "shop"), InstanceType="t3.micro"
    )
    with pytest.raises(ImmutableError, match="moto failed at autoscaling:StartInstanceRefresh"), aws_errors():
        Clients(cloud.account()).client("autoscaling").start_instance_refresh(AutoScalingGroupName="web")
    assert cloud.count(action="StartInstanceRefresh") == 1


HOLD = """
import sys
from ansible_collections.immutable.infra.tests.support.aws.server import moto
with moto() as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_the_server_ends_when_its_test_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        assert select.select([server], [], [], 0) == ([], [], [])
        parent.kill()
    assert select.select([server], [], [], PATIENCE)[0] == [server]
    os.close(server)


def test_two_servers_share_nothing() -> None:
    with serve() as one, serve() as other:
        one.boto("s3").create_bucket(Bucket="own", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        assert other.boto("s3").list_buckets()["Buckets"] == []
