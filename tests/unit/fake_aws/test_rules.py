# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The list of the rules, and the rules of load balancers, parameters and buckets, through the real boto3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.account import AccountSetup, refused
from ansible_collections.immutable.infra.tests.support.aws.rules import RULES
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

DOCS = Path(__file__).resolve().parents[3] / "docs/explanation/aws-testing.md"


def test_every_rule_states_a_fact_and_links_its_page() -> None:
    assert all(rule.fact and rule.page.startswith("https://docs.aws.amazon.com/") for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    docs = DOCS.read_text()
    assert [rule.name for rule in RULES if f"| {rule.name} |" not in docs or rule.page not in docs] == []


def test_targets_take_time_to_become_healthy_and_to_drain(account: AccountSetup) -> None:
    account.cloud.set(launch=5, health=10, drain=0.1)
    group = seeds.balancer(account.cloud, account.net).groups[0]
    account.elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "100"}]
    )
    one, two = account.launch(2)
    both = [{"Id": one}, {"Id": two}]
    with refused("InvalidTarget"):
        account.elb.register_targets(TargetGroupArn=group, Targets=both)
    account.clock.at = 5
    with refused("InvalidTarget"):
        account.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "i-00000000000000000"}])
    account.elb.register_targets(TargetGroupArn=group, Targets=both)
    assert account.target_states(group) == {one: "initial", two: "initial"}
    account.clock.at = 15
    assert account.target_states(group) == {one: "healthy", two: "healthy"}
    account.cloud.set(healthy=lambda instance, _group: instance == one)
    assert account.target_states(group) == {one: "healthy", two: "unhealthy"}
    account.elb.deregister_targets(TargetGroupArn=group, Targets=both)
    assert account.target_states(group) == {one: "draining", two: "draining"}
    health = account.elb.describe_target_health(TargetGroupArn=group, Targets=[{"Id": one, "Port": 8080}])[
        "TargetHealthDescriptions"
    ][0]["TargetHealth"]
    assert (health["State"], health["Reason"]) == ("draining", "Target.DeregistrationInProgress")
    account.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    assert account.target_states(group) == {one: "initial", two: "draining"}
    account.clock.at = 25
    assert account.target_states(group) == {one: "healthy"}


def test_a_network_load_balancer_begins_to_check_after_minutes(account: AccountSetup) -> None:
    account.cloud.set(registration=180.0, health=10.0)
    (one,) = account.launch()
    groups = [
        seeds.balancer(account.cloud, account.net, kind=kind, name=kind).groups[0]
        for kind in ("network", "application")
    ]
    for group in groups:
        account.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    began = account.clock.at
    account.clock.at = began + 179
    assert [account.target_states(group) for group in groups] == [{one: "initial"}, {one: "healthy"}]
    account.clock.at = began + 180
    assert account.target_states(groups[0]) == {one: "healthy"}


def test_a_group_that_nothing_forwards_to_is_unused(account: AccountSetup) -> None:
    group = account.elb.create_target_group(Name="alone", Protocol="HTTP", Port=80, VpcId=account.net.vpc)[
        "TargetGroups"
    ][0]["TargetGroupArn"]
    (one,) = account.launch()
    account.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    assert account.target_states(group) == {one: "unused"}
    spare = seeds.balancer(account.cloud, account.net, 2).groups[1]  # the listener forwards to it with weight 0
    account.elb.register_targets(TargetGroupArn=spare, Targets=[{"Id": one}])
    assert account.target_states(spare) == {one: "healthy"}


def test_instances_of_a_dead_image_never_become_healthy(account: AccountSetup) -> None:
    group = seeds.balancer(account.cloud, account.net).groups[0]
    (one,) = account.launch()
    account.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
    account.cloud.set(dead=frozenset({account.ami}))
    assert account.target_states(group) == {one: "unhealthy"}


def test_parameters_are_limited_and_buckets_have_defaults(cloud: Cloud) -> None:
    ssm, s3 = cloud.boto("ssm", proxied=True), cloud.boto("s3", proxied=True)
    with refused("ValidationException"):
        ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String")
    ssm.put_parameter(Name="/a", Value="x" * 4097, Type="String", Tier="Advanced")
    s3.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert s3.get_public_access_block(Bucket="records")["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    rules = s3.get_bucket_encryption(Bucket="records")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_one_of_several_concurrent_conditional_writers_succeeds(cloud: Cloud) -> None:
    """moto already behaves this way, so no rule is needed."""
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
