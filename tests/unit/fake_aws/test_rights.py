# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The IAM actions that calls need: messages name a missing one, and the documented policy allows all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account, Clients, aws_errors
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.ebs_options import DISKS
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.faults import denied, refuse
from ansible_collections.immutable.infra.tests.support.aws.rights import (
    BAKE_POLICY,
    POLICY,
    RECORD,
    STORE,
    TAGS,
    actions_of,
    judge,
    statements,
)
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

DENIED = [
    ("ec2", "describe_instances", {}, "ec2:DescribeInstances"),
    ("ec2", "terminate_instances", {"InstanceIds": ["i-0123456789abcdef0"]}, "ec2:TerminateInstances"),
    (
        "elbv2",
        "describe_target_health",
        {"TargetGroupArn": "arn:aws:elasticloadbalancing:x"},
        "elasticloadbalancing:DescribeTargetHealth",
    ),
    ("autoscaling", "describe_auto_scaling_groups", {}, "autoscaling:DescribeAutoScalingGroups"),
    ("ssm", "get_parameters", {"Names": ["/immutable/shop/prod"]}, "ssm:GetParameters"),
    ("s3", "list_objects_v2", {"Bucket": "shop"}, "s3:ListBucket"),
    ("s3", "put_object", {"Bucket": "shop", "Key": "one"}, "s3:PutObject"),
]


@pytest.mark.parametrize(("service", "operation", "parameters", "action"), DENIED)
def test_a_denied_call_names_the_action_to_allow(
    cloud: Cloud, service: str, operation: str, parameters: dict[str, Any], action: str
) -> None:
    cloud.fault(denied)
    with (
        pytest.raises(ProviderError, match=f"; allow the action {action} for the identity that runs this"),
        aws_errors(),
    ):
        getattr(Clients(cloud.account()).client(service), operation)(**parameters)


def test_a_call_that_the_policy_does_not_allow_is_detected(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD, raising=False)
    Clients(cloud.account()).ec2.describe_hosts()
    calls = cloud.calls()
    cloud.proxy.forget()  # or the fixture would detect it too
    assert actions_of(calls) == {"ec2:DescribeHosts"}
    with pytest.raises(AssertionError, match="does not allow ec2:DescribeHosts"):
        judge(calls)


def test_calls_of_the_test_itself_do_not_count(cloud: Cloud) -> None:
    cloud.boto("ec2", proxied=True).describe_vpcs()
    assert cloud.count() == 1 and actions_of(cloud.calls()) == set()


@pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")
@pytest.mark.parametrize(
    "how",
    [{"communicator": "none"}, {"communicator": "ssh", "ssh_host": "127.0.0.1", "ssh_port": 9, "ssh_timeout": "1s"}],
)
def test_the_policy_allows_what_packer_does(cloud: Cloud, tmp_path: Path, how: dict[str, Any]) -> None:
    """Packer builds one image, and once fails to connect by SSH and cleans up. The fixture checks its calls.

    It encrypts the image without a copy that would have no tags.
    """
    where, tags = seeds.network(cloud), {"immutable:store": "0123456789abcdef"}
    endpoint = {
        "custom_endpoint_ec2": cloud.endpoint_url,
        "skip_region_validation": True,
        "skip_metadata_api_check": True,
    }
    base = {"region": REGION, "source_ami": seeds.image(cloud, "debian"), "ssh_username": "admin"}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    cloud.boto("ec2").import_key_pair(KeyName="bake", PublicKeyMaterial=(tmp_path / "key.pub").read_bytes())
    how = {**how, "ssh_keypair_name": "bake", "ssh_private_key_file": str(tmp_path / "key")}
    machine = {**base, "instance_type": "t3.micro", "subnet_id": where.subnets[0]}
    kinds = ("tags", "run_tags", "run_volume_tags", "snapshot_tags")
    builder = {
        "type": "amazon-ebs",
        "ami_name": "shop-1",
        DISKS: [{"device_name": "/dev/sda1", "encrypted": True, "delete_on_termination": True}],
        **machine,
        **endpoint,
        **dict.fromkeys(kinds, tags),
        **how,
    }
    (tmp_path / "shop.json").write_text(json.dumps({"builders": [builder]}), encoding="utf-8")
    done = subprocess.run(["packer", "build", "shop.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if how["communicator"] == "none" else 1), done.stdout
    assert "ec2:RunInstances" in actions_of(cloud.calls()) and not cloud.count(action="CopyImage")


def test_the_policy_lets_later_packers_tag_what_they_make() -> None:
    """Since 1.0.2 the plugin sends run_tags with these two calls. Debian's Packer tags afterwards or not at all."""
    made = {"CreateSecurityGroup": "security-group", "CreateImage": "image"}
    tag = {"TagSpecification.1.Tag.1.Key": "immutable:store", "TagSpecification.1.Tag.1.Value": STORE}
    judge(Call("ec2", action, {TAGS: kind, **tag}, agent="aws-sdk-go-v2/1.36.3") for action, kind in made.items())
    with pytest.raises(AssertionError, match="lets no tags be set in CreateLaunchTemplateVersion"):
        judge([Call("ec2", "CreateLaunchTemplateVersion", {TAGS: "launch-template"}, agent="immutable.infra")])


def test_setting_a_groups_template_needs_no_tag_of_the_store() -> None:
    """Auto Scaling requires that the caller may launch from the template, and a user's own template has no such tag."""
    launching = [
        each
        for each in json.loads(POLICY.read_text(encoding="utf-8"))["Statement"]
        if "ec2:RunInstances" in each["Action"]
    ]
    free = [
        each
        for each in launching
        if "aws:RequestTag/immutable:store" not in each.get("Condition", {}).get("StringEquals", {})
    ]
    kinds = {resource.rpartition(":")[2].partition("/")[0] for each in free for resource in each["Resource"]}
    assert {"instance", "volume"} <= kinds
    assert all("Condition" in each for each in free if "arn:aws:ec2:*:ACCOUNT:instance/*" in each["Resource"]), (
        "nothing else may be launched without it"
    )


def test_iam_accepts_the_policy() -> None:
    sids = [each["Sid"] for each in statements()]
    assert len(set(sids)) == len(sids) and all(sid.isalnum() for sid in sids)
    for path in (POLICY, BAKE_POLICY):
        policy = json.loads(path.read_text(encoding="utf-8"))
        size = len("".join(json.dumps(policy, separators=(",", ":")).split()))
        assert size < 6144, "IAM's maximum for a managed policy"


def test_each_statement_is_explained() -> None:
    page = POLICY.with_suffix(".md").read_text(encoding="utf-8")
    assert not [each["Sid"] for each in statements() if f"`{each['Sid']}`" not in page]


def test_a_missing_boto3_is_reported_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("boto3", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ProviderError, match="pip install boto3"):
        open_store("s3://nobody-has-this/bucket")
    with pytest.raises(ProviderError, match="pip install boto3"):
        _each = Clients(Account(region=REGION)).account_id


@pytest.mark.parametrize(
    ("message", "renew"),
    [
        ("Not authorized for images: [ami-1]", False),
        ("AWS was not able to validate the provided access credentials", True),
    ],
)
def test_resources_of_others_are_not_reported_as_expired_credentials(cloud: Cloud, message: str, renew: bool) -> None:
    cloud.fault(refuse(401, "AuthFailure", message), action="DescribeVolumes")
    with pytest.raises(ProviderError) as refused, aws_errors():
        Clients(cloud.account()).ec2.describe_volumes()
    assert ("renew the credentials" in refused.value.message) is renew and message in refused.value.message
