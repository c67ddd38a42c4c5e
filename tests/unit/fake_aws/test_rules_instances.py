# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of instances and launch templates that moto lacks, through the real boto3 and the proxy."""

from __future__ import annotations

import base64
import gzip
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.account import AccountSetup, refused


def test_a_client_token_is_one_launch(account: AccountSetup) -> None:
    first = account.launch(2, ClientToken="a")
    assert account.launch(2, ClientToken="a") == first
    assert account.launch(2, ClientToken="b") != first
    with refused("IdempotentParameterMismatch"):
        account.launch(3, ClientToken="a")
    assert len(account.states()) == 4
    account.ec2.terminate_instances(InstanceIds=first)
    with refused("IdempotentInstanceTerminated"):
        account.launch(2, ClientToken="a")


def test_a_client_token_applies_to_one_zone(account: AccountSetup) -> None:
    here, there = (account.launch(ClientToken="a", SubnetId=subnet) for subnet in account.net.subnets)
    assert here != there
    assert account.launch(ClientToken="a") == here


def test_concurrent_launches_with_one_token_are_one_launch(account: AccountSetup) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({tuple(ids) for ids in pool.map(lambda _n: account.launch(ClientToken="a"), range(8))}) == 1
    assert len(account.states()) == 1


def test_launching_and_terminating_take_time(account: AccountSetup) -> None:
    account.cloud.set(launch=26, stop=10)
    one, two = account.launch(2)
    assert account.states() == {one: "pending", two: "pending"}
    assert account.states(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {}
    account.clock.at = 26
    assert account.states(Filters=[{"Name": "instance-state-name", "Values": ["running"]}]) == {
        one: "running",
        two: "running",
    }
    account.ec2.stop_instances(InstanceIds=[one])
    account.ec2.terminate_instances(InstanceIds=[two])
    assert account.states() == {one: "stopping", two: "shutting-down"}
    with refused("IncorrectInstanceState"):
        account.ec2.start_instances(InstanceIds=[one])
    account.clock.at = 36
    assert account.states() == {one: "stopped", two: "terminated"}
    account.ec2.start_instances(InstanceIds=[one])
    assert account.states()[one] == "pending"


def test_a_forced_stop_ends_an_instance_that_hangs(account: AccountSetup) -> None:
    (one,) = account.launch()
    account.cloud.set(hung=frozenset({one}))
    account.ec2.stop_instances(InstanceIds=[one])
    account.clock.at = 900
    assert account.states() == {one: "stopping"}
    account.ec2.stop_instances(InstanceIds=[one], Force=True)
    assert account.states() == {one: "stopped"}


def test_new_resources_may_not_be_visible_yet(account: AccountSetup) -> None:
    account.cloud.set(visible=2)
    (one,) = account.launch()
    account.volume(TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "owner", "Value": "1"}]}])
    owned = [{"Name": "tag:owner", "Values": ["1"]}]
    assert (account.states(), account.ec2.describe_volumes(Filters=owned)["Volumes"]) == ({}, [])
    with refused("InvalidInstanceID.NotFound"):
        account.states(InstanceIds=[one])
    account.clock.at = 2
    assert (len(account.states()), len(account.ec2.describe_volumes(Filters=owned)["Volumes"])) == (1, 1)


def test_instances_are_found_by_their_client_token(account: AccountSetup) -> None:
    (one,) = account.launch(ClientToken="a")
    account.launch(ClientToken="b")
    assert account.states(
        Filters=[{"Name": "client-token", "Values": ["a"]}, {"Name": "image-id", "Values": [account.ami]}]
    ) == {one: "running"}


def test_aws_refuses_invalid_launches(account: AccountSetup) -> None:
    account.cloud.set(no_capacity=frozenset({account.net.zones[0]}))
    with refused("InsufficientInstanceCapacity"):
        account.launch()
    assert len(account.launch(SubnetId=account.net.subnets[1])) == 1
    account.cloud.set(no_capacity=frozenset())
    with refused("InvalidParameterValue"):
        account.launch(UserData="x" * 16_385)
    with refused("InvalidParameterValue"):
        account.launch(IamInstanceProfile={"Name": "none"})
    with refused("InvalidParameterValue"):
        account.launch(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "aws:owner", "Value": "1"}]}])
    with refused("InvalidAMIID.NotFound"):
        account.launch(ImageId="ami-0123456789abcdef0")
    (one,) = account.launch(UserData="x" * 16_384)
    assert account.cloud.user_data(one) == "x" * 16_384


def test_user_data_of_a_template_is_limited_and_reaches_its_instances(account: AccountSetup) -> None:
    template = seeds.template(account.cloud, account.ami, account.net)

    def version(data: str) -> None:
        account.ec2.create_launch_template_version(
            LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"UserData": data}
        )

    with refused("InvalidUserData.Malformed"):
        version(base64.b64encode(b"x" * 16_385).decode())
    version(base64.b64encode(b"x" * 16_384).decode())
    (one,) = account.launch(LaunchTemplate={"LaunchTemplateId": template, "Version": "2"})
    assert account.cloud.user_data(one) == "x" * 16_384


def test_a_template_version_inherits_the_rest_from_its_source(account: AccountSetup) -> None:
    template = seeds.template(account.cloud, account.ami, account.net)
    other = seeds.image(account.cloud, "shop-2")
    created = account.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": other}
    )
    assert created["LaunchTemplateVersion"]["LaunchTemplateData"] == {
        "ImageId": other,
        "InstanceType": "t3.micro",
        "SecurityGroupIds": [account.net.group],
    }


def test_the_console_shows_what_the_instance_was_launched_with(account: AccountSetup) -> None:
    account.cloud.set(launch=10, console_delay=5, shell="restricted")
    tags = [{"Key": "immutable:image", "Value": "sha256:1"}, {"Key": "immutable:nonce", "Value": "n"}]
    specification = [{"ResourceType": "instance", "Tags": tags}]
    document = gzip.compress(launch_document({"nonce": b"n\n"}), mtime=0)
    (one,) = account.launch(TagSpecifications=specification, UserData=document)
    (other,) = account.launch(TagSpecifications=specification, UserData="settings")

    def console(one: str = one) -> str:
        return str(account.ec2.get_console_output(InstanceId=one, Latest=True).get("Output", ""))

    assert console() == ""
    account.clock.at = 14
    assert console() == ""
    account.clock.at = 15
    evidence = parse_evidence(console(), "n")
    assert evidence is not None
    assert (evidence.digest, evidence.nonce, evidence.shell) == ("sha256:1", "n", "restricted")
    assert "IMMUTABLE-UNSEALED" in console(other) and parse_evidence(console(other), "n") is None
    account.cloud.set(
        console=lambda instance, launched_with: f"{instance} {launched_with['UserData']} {launched_with['ImageId']}"
    )
    assert console(other) == f"{other} settings {account.ami}"
    account.cloud.set(dead=frozenset({account.ami}))
    assert parse_evidence(console(), "n") is None and "panic" in console()


def test_an_instance_is_lost_to_spot(account: AccountSetup) -> None:
    (one,) = account.launch()
    account.cloud.lose(one)
    described = account.ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
    assert (described["State"]["Name"], described["StateReason"]["Code"]) == (
        "terminated",
        "Server.SpotInstanceTermination",
    )


def test_an_accepted_launch_may_die(account: AccountSetup) -> None:
    """A terminated instance is described for an hour, and by its tags perhaps not as long."""
    account.cloud.set(launch=20, doomed=frozenset({account.ami}), tags_kept=60.0)
    tags = [{"Key": "owner", "Value": "1"}]
    (one,) = account.launch(ClientToken="a", TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    owned = [{"Name": "tag:owner", "Values": ["1"]}]
    assert account.states(Filters=owned) == {one: "pending"}
    account.clock.at = 20
    described = account.ec2.describe_instances(Filters=owned)["Reservations"][0]["Instances"][0]
    assert (described["State"]["Name"], described["StateReason"]) == (
        "terminated",
        {"Code": "Client.InternalError", "Message": "Client.InternalError: Client error on launch"},
    )
    with refused("IdempotentInstanceTerminated"):
        account.launch(ClientToken="a", TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    account.clock.at = 80
    assert (account.states(Filters=owned), account.states()) == ({}, {one: "terminated"})
    account.clock.at = 3620
    assert account.states() == {}


@pytest.mark.parametrize(
    ("attribute", "calls"), [("DisableApiTermination", ["terminated"]), ("DisableApiStop", ["stopped", "terminated"])]
)
def test_a_template_protects_its_instances(account: AccountSetup, attribute: str, calls: list[str]) -> None:
    made = account.ec2.create_launch_template(LaunchTemplateName="p", LaunchTemplateData={attribute: True})
    template = {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}
    (one,) = account.launch(LaunchTemplate=template)
    changes = {"stopped": account.ec2.stop_instances, "terminated": account.ec2.terminate_instances}
    for what in calls:
        with refused("OperationNotPermitted"):
            changes[what](InstanceIds=[one])
    assert account.states() == {one: "running"}
