# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The comparison with a real account, here with the fake one and its rules."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path

import botocore.waiter
import pytest
from ansible_collections.immutable.infra.tests.aws_live import live as live_module
from ansible_collections.immutable.infra.tests.aws_live import traffic
from ansible_collections.immutable.infra.tests.aws_live.__main__ import CHECKS, REPLACING, compare, main
from ansible_collections.immutable.infra.tests.aws_live.evidence import MARK as MARK_OF_HOST
from ansible_collections.immutable.infra.tests.aws_live.live import MARK, Live
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.account import ManualClock
from ansible_collections.immutable.infra.tests.support.aws.identity import signer
from ansible_collections.immutable.infra.tests.support.aws.root_tasks import RootTasks
from ansible_collections.immutable.infra.tests.support.aws.rules import RULES
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud


@pytest.fixture
def live(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    clock = ManualClock()
    passing = types.SimpleNamespace(time=clock, monotonic=clock, sleep=clock.advance)
    for module in (botocore.waiter, live_module, traffic):
        monkeypatch.setattr(module, "time", passing)
    cloud.set(launch=10.0, stop=10.0, volume=10.0, snapshot=10.0, modify=3600.0, registration=30.0, now=clock)
    # What a host prints that may write its own name and nothing else.
    cloud.set(sign=signer().sign, console=lambda _instance, _launched: f"{MARK_OF_HOST}[0, 403, 403, 403]\n")
    cloud.boto("iam").create_instance_profile(InstanceProfileName="shop-host")
    certificates = tmp_path / "aws.pem"
    certificates.write_text(signer().certificate, encoding="ascii")
    account = Live(REGION, seeds.bucket(cloud), seeds.network(cloud).subnets[0], seeds.image(cloud, "debian-12"))
    account.account = "222222222222"
    account.profile, account.certificates = "shop-host", str(certificates)
    cloud.proxy.layers.insert(0, tasks := RootTasks(cloud, {account.ami: "sha256:1"}))
    yield account
    cloud.proxy.layers.remove(tasks)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.rules[0])
def test_the_rules_say_what_the_checks_expect(
    check: object, live: Live, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(check, live) is False, capsys.readouterr().out  # type: ignore[arg-type]
    ec2 = cloud.boto("ec2")
    states = [each["State"]["Name"] for page in ec2.describe_instances()["Reservations"] for each in page["Instances"]]
    assert set(states) <= {"terminated"}
    assert not ec2.describe_volumes(Filters=[{"Name": "tag-key", "Values": [MARK]}])["Volumes"]
    assert not ec2.describe_snapshots(Filters=[{"Name": "tag-key", "Values": [MARK]}])["Snapshots"]


def test_every_check_names_rules_of_the_table() -> None:
    assert {rule for check in CHECKS for rule in check.rules} <= {REPLACING, *(rule.name for rule in RULES)}


def test_a_difference_is_printed(live: Live, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.set(launch=0.0)  # an instance runs at once
    [check] = [check for check in CHECKS if "starting" in check.rules]
    assert compare(check, live) is True
    assert "the state after a launch is 'running', expected 'pending'" in capsys.readouterr().out


def test_what_a_killed_run_left_is_removed(live: Live, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.set(launch=0.0, stop=0.0)
    ec2 = cloud.boto("ec2")
    tags = [{"ResourceType": "volume", "Tags": [{"Key": MARK, "Value": "killed"}]}]
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    left = ec2.create_volume(Size=1, AvailabilityZone=zone, TagSpecifications=tags)["VolumeId"]
    kept = ec2.create_volume(Size=1, AvailabilityZone=zone)["VolumeId"]
    assert main(["--region", REGION, "--clean"]) == 0
    assert capsys.readouterr().out == f"removed: {left}\n"
    assert [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]] == [kept]


def test_a_name_alone_is_no_reason_to_remove_something(
    live: Live, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    elb, vpc = cloud.boto("elbv2"), cloud.boto("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    for name, tags in (
        (f"{MARK}-theirs", [{"Key": "owner", "Value": "them"}]),
        (f"{MARK}-left", [{"Key": MARK, "Value": "killed"}]),
    ):
        elb.create_target_group(Name=name, Protocol="TCP", Port=80, VpcId=vpc, TargetType="instance", Tags=tags)
    assert main(["--region", REGION, "--clean"]) == 0
    assert capsys.readouterr().out == f"removed: {MARK}-left\n"
    assert [each["TargetGroupName"] for each in elb.describe_target_groups()["TargetGroups"]] == [f"{MARK}-theirs"]


def test_what_an_option_is_needed_for_is_skipped(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    [check] = [check for check in CHECKS if check.needs == ("bucket",)]
    assert compare(check, Live(REGION)) is False
    assert capsys.readouterr().out.startswith("skipped") and not cloud.calls()


def test_a_host_that_may_do_more_is_a_difference(live: Live, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.set(console=lambda _instance, _launched: f"{MARK_OF_HOST}[0, 403, 200, 403]\n", sign=lambda _document: "AAAA")
    [check] = [check for check in CHECKS if "hosts put evidence" in check.rules]
    assert compare(check, live) is True
    printed = capsys.readouterr().out
    assert "the answer to a host that wants its own object is 200, expected 403" in printed
    assert "whether AWS signed the document is False, expected True" in printed
