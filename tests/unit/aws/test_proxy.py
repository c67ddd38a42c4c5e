# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proxy in front of moto, seen by the real boto3."""
from __future__ import annotations

import os
import select
import subprocess
import sys

from ansible_collections.immutable.infra.plugins.plugin_utils.aws.clients import Clients
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.server import cloud as serve


def test_calls_of_every_protocol_pass_and_are_logged_by_name(cloud: Cloud) -> None:
    clients = Clients(cloud.account())
    clients.ec2.describe_instances()
    clients.client("elbv2").describe_load_balancers()
    clients.client("autoscaling").describe_auto_scaling_groups()
    clients.client("ssm").put_parameter(Name="/a", Value="1", Type="String")
    s3 = clients.client("s3")
    s3.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
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


HOLD = """
import sys
from ansible_collections.immutable.infra.tests.support.aws.server import moto
with moto() as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_the_server_ends_with_its_test_however_that_ends() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        assert select.select([server], [], [], 0) == ([], [], [])
        parent.kill()
    assert select.select([server], [], [], 30)[0] == [server]
    os.close(server)


def test_two_servers_share_nothing() -> None:
    with serve() as one, serve() as other:
        one.boto("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        assert other.boto("s3").list_buckets()["Buckets"] == []
