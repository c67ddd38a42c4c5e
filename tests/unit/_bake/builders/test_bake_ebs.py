# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of Packer's amazon-ebs builder. Nothing here calls AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account, Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builder import BakeJob
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.ebs import (
    amis_in,
    builder_settings,
    encryption,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.ebs_network import PRIVATE_NETWORKS
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.template import Guest, as_text, packer_template
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.ebs_options import (
    DISKS,
    REFUSED,
    refused_options,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.ebs_options import TAG_OPTIONS as TAGGED
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Build, Definition, Network

TAGS = {"immutable:digest": "sha256:ab", "immutable:bake": "bake-ab"}
OLD, NEW = (1, 6, 6), (1, 11, 2)
LOCAL = "http://127.0.0.1:9"


BASE = {"BlockDeviceMappings": [{"DeviceName": name, "Ebs": {}} for name in ("/dev/xvda", "/dev/xvdb")]}


@pytest.fixture
def builder(define: Callable[..., Definition], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def make(
        packer: tuple[int, ...] = OLD,
        role: str = "",
        endpoint: str = "",
        version: str = "1.0.0",
        network: Network | None = None,
        external_id: str = "",
        **build: Any,
    ) -> dict[str, Any]:
        definition = define(version=version)
        account = Account("eu-central-1", endpoint_url=endpoint)
        network = network or Network()
        target = replace(definition.targets["local"], provider="aws", build=Build(**build), aws=account)
        target = replace(target, network=network, zones=tuple(network.subnets))
        base = {"ami": "ami-0123456789abcdef0", "region": "eu-central-1", "root_device": "/dev/xvda"}
        job = BakeJob(
            definition=definition,
            target=target,
            digest=f"sha256:{'ab' * 32}",
            build="aws-1-x86_64",
            inputs={},
            base=base,
            variables=BakeVariables({}, {}, {}),
        )
        clients = Clients(account)
        clients.account = replace(account, role=role, external_id=external_id)
        found = SimpleNamespace(describe_images=lambda **_filters: {"Images": [BASE]})
        return {**builder_settings(job, clients, TAGS, packer), **encryption(job, found)}

    return make


@pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")
def test_packer_accepts_the_template(builder: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    for name in ("payload", "secrets"):
        (tmp_path / name).write_text("x")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    keys = {"ssh_keypair_name": "k", "ssh_private_key_file": str(tmp_path / "key")}
    settings = builder(
        endpoint=LOCAL, subnet="subnet-1", kms_key="alias/images", options={"ssh_interface": "public_ip"}
    )
    guest = Guest(
        payload=tmp_path / "payload",
        secrets=tmp_path / "secrets",
        folder="/dev/shm/x",
        python="3.11",
        sbom_sources=tmp_path / "sources.tar.gz",
        user="admin",
        cleanup=("true",),
    )
    (tmp_path / "template.json").write_text(as_text(packer_template({**settings, **keys}, guest)))
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE0",
        "AWS_SECRET_ACCESS_KEY": "example",
        "CHECKPOINT_DISABLE": "1",
    }
    done = subprocess.run(
        ["packer", "validate", "template.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if "required plugin" in done.stdout or "unknown builder" in done.stdout.lower():
        pytest.skip("this packer has no amazon-ebs builder")
    assert done.returncode == 0, done.stdout


def test_everything_is_tagged_and_our_tags_override_the_users(builder: Callable[..., dict[str, Any]]) -> None:
    settings = builder(options={"tags": {"cost": "shop", "Name": "custom"}})
    for kind in TAGGED:
        assert settings[kind].items() >= TAGS.items()
    assert (settings["tags"]["cost"], settings["tags"]["Name"], settings["run_tags"]["Name"]) == (
        "shop",
        "custom",
        "shop-1.0.0",
    )


def test_the_disks_are_encrypted_from_the_start(builder: Callable[..., dict[str, Any]]) -> None:
    """A copy that is encrypted afterwards leaves an AMI without tags for a while."""
    encrypted = {"encrypted": True, "kms_key_id": "alias/images"}
    own = [
        {"device_name": "/dev/xvda", "volume_size": 20, "delete_on_termination": True},
        {"device_name": "/dev/sdc", "no_device": True},
    ]
    settings = builder(kms_key="alias/images", options={DISKS: own})
    assert settings[DISKS] == [
        {**own[0], **encrypted},
        {"device_name": "/dev/xvdb", "delete_on_termination": True, **encrypted},
        own[1],
    ]
    assert "encrypt_boot" not in settings
    plain = builder(encrypt=False, options={DISKS: own})
    assert plain["encrypt_boot"] is False and plain[DISKS] == own


def test_imdsv2_is_required_if_packer_supports_it(builder: Callable[..., dict[str, Any]]) -> None:
    assert "imds_support" not in builder(OLD)
    assert builder(NEW)["metadata_options"]["http_tokens"] == "required"


def test_an_endpoint_is_set_only_if_it_is_not_the_regions_own(
    builder: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "custom_endpoint_ec2" not in builder()
    vpc = "https://vpce-1.ec2.eu-central-1.vpce.amazonaws.com"
    settings = builder(endpoint=vpc)
    assert (settings["custom_endpoint_ec2"], settings["skip_region_validation"]) == (vpc, True)


def test_a_name_contains_only_characters_that_ec2_allows(builder: Callable[..., dict[str, Any]]) -> None:
    name = builder(version="1.0+rc:1" + "x" * 200)["ami_name"]
    assert name.startswith("shop-1.0-rc-1xxx") and "-abababababab-" in name
    assert len(name) == 128


def test_a_role_is_assumed_by_packer(builder: Callable[..., dict[str, Any]]) -> None:
    role = "arn:aws:iam::123456789012:role/bakes"
    assert builder(role=role)["assume_role"]["role_arn"] == role


PRIVATE = Network({"eu-central-1a": "subnet-a", "eu-central-1b": "subnet-b"})


def test_the_build_machine_starts_in_the_targets_first_subnet_if_that_is_in_its_region(
    builder: Callable[..., dict[str, Any]],
) -> None:
    assert builder(network=PRIVATE)["subnet_id"] == "subnet-a"
    assert builder(network=PRIVATE, subnet="subnet-c")["subnet_id"] == "subnet-c"
    assert "subnet_id" not in builder(network=PRIVATE, region="eu-west-1")


@pytest.mark.parametrize(
    ("packer", "network", "build", "cidrs", "discovered"),
    [
        (NEW, None, {}, None, True),
        (OLD, None, {}, None, None),
        (NEW, None, {"ssh_cidrs": ("192.0.2.0/24",)}, ["192.0.2.0/24"], None),
        (OLD, None, {"ssh_cidrs": ("192.0.2.0/24",)}, ["192.0.2.0/24"], None),
        (NEW, None, {"options": {"ssh_interface": "private_ip"}}, list(PRIVATE_NETWORKS), None),
        (NEW, Network(ssh_proxy=("aws",)), {}, list(PRIVATE_NETWORKS), None),
        (NEW, None, {"options": {"security_group_id": "sg-1"}}, None, None),
    ],
)
def test_who_may_connect_to_the_build_machine(
    builder: Callable[..., dict[str, Any]],
    packer: tuple[int, ...],
    network: Network | None,
    build: dict[str, Any],
    cidrs: list[str] | None,
    discovered: bool | None,
) -> None:
    settings = builder(packer, network=network, **build)
    assert settings.get("temporary_security_group_source_cidrs") == cidrs
    assert settings.get("temporary_security_group_source_public_ip") is discovered


def test_packer_knows_the_external_id_of_a_role(builder: Callable[..., dict[str, Any]]) -> None:
    plain = builder(role="arn")["assume_role"]
    assert "external_id" not in plain
    assert builder(role="arn", external_id="shop-1")["assume_role"] == {**plain, "external_id": "shop-1"}


def test_users_cannot_set_options_that_the_builder_sets(builder: Callable[..., dict[str, Any]]) -> None:
    settings = builder(NEW, role="arn", endpoint=LOCAL, subnet="subnet-1", kms_key="k")
    assert set(settings) - {*TAGGED, DISKS, "ssh_timeout", "ssh_disable_agent_forwarding"} <= set(REFUSED)
    assert dict(refused_options({"region": "x", "ssh_interface": "session_manager"})) == {
        "region": "build.region sets it"
    }
    for disks in ("/dev/xvda", ["/dev/xvda"], [{"volume_size": 8}]):
        assert [name for name, _reason in refused_options({DISKS: disks})] == [DISKS]
    assert [name for name, _reason in refused_options({"tags": {"immutable:digest": "x"}, "run_tags": ["x"]})] == [
        "tags",
        "run_tags",
    ]


def test_the_operators_agent_is_forwarded_only_on_request(builder: Callable[..., dict[str, Any]]) -> None:
    assert builder()["ssh_disable_agent_forwarding"] is True
    asked = builder(options={"ssh_disable_agent_forwarding": False})
    assert asked["ssh_disable_agent_forwarding"] is False


def test_a_user_other_than_root_runs_scripts_with_sudo(tmp_path: Path) -> None:
    steps = packer_template(
        {}, Guest(tmp_path / "payload", None, "/dev/shm/x", "3.11", user="admin", cleanup=("forget the key",))
    )["provisioners"]
    assert {step["execute_command"] for step in steps if step["type"] == "shell"} == {
        "sudo -n env {{ .Vars }} /bin/sh -e {{ .Path }}"
    }
    assert steps[-1]["inline"][:2] == ["rm -rf /dev/shm/x", "forget the key"]
    assert "execute_command" not in json.dumps(
        packer_template({}, Guest(tmp_path / "payload", None, "/dev/shm/x", "3.11"))
    )


def test_amis_are_read_from_the_id_of_an_artifact() -> None:
    assert amis_in("eu-west-1:ami-0a,us-east-1:ami-0b") == {"eu-west-1": "ami-0a", "us-east-1": "ami-0b"}
    assert amis_in("VM") == amis_in("") == {}
