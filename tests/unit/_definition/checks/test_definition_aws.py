# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of a target on AWS, and mistakes in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.ami import AmiReference, ami_reference
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import machine_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary
from ansible_collections.immutable.infra.tests.support.aws.identity import signer

GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef"
GOOD = f"""\
schema: 1
service: shop
version: "1.0"
image:
  base: {{ami: {{owner: "136693071363", name: debian-12-amd64-*}}, python: "3.11"}}
  provision: {{playbook: site.yml}}
health: {{http: {{port: 8080}}}}
data: [{{name: files, size: 1G, mount: /srv/files, type: gp3}}]
targets:
  prod:
    provider: aws
    region: eu-west-1
    role: arn:aws:iam::123456789012:role/deploy
    network: {{subnets: {{eu-west-1a: subnet-01234567, eu-west-1b: subnet-89abcdef}}, security_groups: [sg-01234567]}}
    machine: {{type: t3.small, launch_template: {{id: lt-01234567, version: 3}}, root_size: 8G}}
    build: {{region: eu-central-1, kms_key: alias/images, options: {{ssh_interface: session_manager}}}}
    traffic: {{target_groups: ["{GROUP}"]}}
    secrets: {{password: {{ssm: /shop/password}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yml").write_text("[]\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, text: str):
    (folder / "immutable.yml").write_text(text, encoding="utf-8")
    return load_definition(folder)


def test_every_setting_of_a_target_on_aws_is_read(folder: Path) -> None:
    target = load(folder, GOOD).target("prod")
    assert target.aws == Account("eu-west-1", role="arn:aws:iam::123456789012:role/deploy")
    assert target.zones == ("eu-west-1a", "eu-west-1b")
    assert target.network.subnets["eu-west-1b"] == "subnet-89abcdef"
    assert target.machine.launch_template == ("lt-01234567", 3)
    assert target.machine.root_size == 8 * 1024**3
    assert target.build.options == {"ssh_interface": "session_manager"}
    assert target.build.encrypt
    assert target.traffic.target_groups == (GROUP,)
    assert (target.secrets["password"].kind, target.secrets["password"].name) == ("ssm", "/shop/password")
    assert ami_reference(target.base.source) == AmiReference(owner="136693071363", name="debian-12-amd64-*")


def test_only_a_declared_hop_limit_is_a_setting_of_the_launch(folder: Path) -> None:
    default = machine_settings(load(folder, GOOD).target("prod"))
    assert "metadata_hop_limit" not in default, "hosts of earlier releases keep their fingerprint"
    text = GOOD.replace("root_size: 8G", "root_size: 8G, metadata_hop_limit: 2")
    assert machine_settings(load(folder, text).target("prod")) == {**default, "metadata_hop_limit": 2}


def test_evidence_in_the_bucket_is_a_setting_of_the_launch_and_its_certificates_are_not(folder: Path) -> None:
    plain = load(folder, GOOD).target("prod")
    certificate = signer().certificate
    (folder / "aws.pem").write_text(certificate, encoding="ascii")
    both = "provider: aws\n    evidence: bucket\n    identity_certificates: aws.pem"
    target = load(folder, GOOD.replace("provider: aws", both)).target("prod")
    assert target.identity_certificates == certificate
    assert machine_settings(target) == {**machine_settings(plain), "evidence": "bucket"}
    assert "identity_certificates" not in target_summary(plain), "results stay as they were"


def test_a_private_network_is_read_and_old_results_stay_as_they_were(folder: Path) -> None:
    plain = load(folder, GOOD).target("prod")
    new = {"external_id", "ssh_proxy", "ssh_cidrs", "deregistration_delay", "drain_set"}
    assert not new & set(re.findall(r'"(\w+)":', json.dumps(target_summary(plain))))
    text = GOOD.replace("network: {", 'network: {ssh_proxy: [aws, "--id={instance_id}"], ')
    text = text.replace("kms_key: alias/images", "ssh_cidrs: [10.0.0.0/16]").replace(
        "target_groups: [", "deregistration_delay: 45s, target_groups: ["
    )
    target = load(folder, text.replace("provider: aws", "provider: aws\n    external_id: shop-1")).target("prod")
    assert target.network.ssh_proxy == ("aws", "--id={instance_id}") and target.aws.external_id == "shop-1"
    assert target.build.ssh_cidrs == ("10.0.0.0/16",) and target.traffic.deregistration_delay == 45
    assert new - {"drain_set"} <= set(re.findall(r'"(\w+)":', json.dumps(target_summary(target))))


@pytest.mark.parametrize("ending", ["", ":AWSPREVIOUS", ":6acf7301-d9fe-4fbf-9c59-9c7c5f96aba2"])
def test_a_secret_may_be_one_of_secrets_manager(folder: Path, ending: str) -> None:
    name = f"/aws/reference/secretsmanager/shop/db+prod@1{ending}"
    secret = load(folder, GOOD.replace("/shop/password", name)).target("prod").secrets["password"]
    assert (secret.kind, secret.name) == ("ssm", name)
    with pytest.raises(DefinitionError, match="is not an SSM parameter name"):
        load(folder, GOOD.replace("/shop/password", "/shop/db+prod@1"))


@pytest.mark.parametrize(
    "ami, reference",
    [
        ("ami-0123456789abcdef0", AmiReference(ami="ami-0123456789abcdef0")),
        ("{ssm: /aws/service/debian/latest}", AmiReference(parameter="/aws/service/debian/latest")),
        ("{owner: self, name: base/*}", AmiReference(owner="self", name="base/*")),
    ],
)
def test_there_are_three_ways_to_name_a_base(folder: Path, ami: str, reference: AmiReference) -> None:
    text = GOOD.replace('{owner: "136693071363", name: debian-12-amd64-*}', ami)
    assert ami_reference(load(folder, text).target("prod").base.source) == reference


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('{owner: "136693071363", name: debian-12-amd64-*}', "{owner: self}", "does not identify an AMI"),
        (
            '{owner: "136693071363", name: debian-12-amd64-*}',
            "{owner: self, name: a, ssm: /b}",
            "does not identify an AMI",
        ),
        (
            "machine: {",
            "machine: {memory: 1G, ",
            "machine.memory: the provider aws ignores this key, which is for qemu and container; remove it",
        ),
        (
            '{ami: {owner: "136693071363", name: debian-12-amd64-*}, python: "3.11"}',
            "{debian: bookworm}",
            "cannot bake from debian (allowed: ami",
        ),
        ("{ssm: /shop/password}", "{env: PASSWORD}", "does not support secrets from env (allowed: ssm)"),
        (
            "provider: aws",
            "provider: aws\n    zones: [eu-west-1c]",
            '"eu-west-1c" has no subnet (allowed: eu-west-1a, eu-west-1b)',
        ),
        (
            "provider: aws",
            "provider: aws\n    fleet: {strategy: blue_green}",
            "blue_green on aws switches a rule from one target group to another",
        ),
        (f'["{GROUP}"]', f'["{GROUP}", "{GROUP}2"]', "two target groups require a rule that forwards to both"),
        (f'    traffic: {{target_groups: ["{GROUP}"]}}\n', "", "the provider aws requires a target group"),
        (
            "ssh_interface: session_manager",
            "encrypt_boot: false",
            "build.options.encrypt_boot: cannot be passed to Packer: build.encrypt sets it",
        ),
        ("    role: arn:aws:iam::123456789012:role/deploy\n", "    external_id: shop\n", "no role is assumed"),
        (
            "network: {",
            'network: {ssh_proxy: [aws, "{instance}"], ',
            'network.ssh_proxy[1]: "{instance}" is not a placeholder (allowed: {host}, {port}, {instance_id})',
        ),
        (
            "network: {",
            "network: {ssh_proxy: aws ssm start-session, ",
            "is not a list (allowed: a list of a program",
        ),
        ("kms_key: alias/images", "ssh_cidrs: [10.0.0.1/16]", '"10.0.0.1/16" is not an IPv4 network'),
        ("kms_key: alias/images", 'ssh_cidrs: ["fd00::/8"]', '"fd00::/8" is not an IPv4 network'),
        ("target_groups: [", "deregistration_delay: 2h, target_groups: [", "(allowed: whole seconds from 0 to 3600)"),
        ("root_size: 8G", "metadata_hop_limit: 0", "is not a hop limit (allowed: an integer from 1 to 64)"),
        ("provider: aws", "provider: aws\n    evidence: s3", "is not a kind of evidence (allowed: console, bucket"),
        (
            "machine: {type: t3.small, launch_template: {id: lt-01234567, version: 3}",
            "evidence: bucket\n    machine: {type: t3.small",
            "evidence: instances need an instance profile that may write their evidence",
        ),
        (
            "machine: {",
            "evidence: bucket\n    machine: {metadata_hop_limit: 2, ",
            "machine.metadata_hop_limit: containers could take the credentials that write evidence",
        ),
        (
            "provider: aws",
            "provider: aws\n    identity_certificates: missing.pem\n    evidence: bucket",
            'identity_certificates: "missing.pem" cannot be read',
        ),
        (
            "provider: aws",
            "provider: aws\n    identity_certificates: site.yml",
            "identity_certificates: no identity document is verified with this evidence",
        ),
        ("type: gp3", "type: qcow2", "is not a volume type on target prod"),
        ("version: 3}", "version: $Latest}", "is not a version number"),
    ],
)
def test_a_mistake_is_reported(folder: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DefinitionError, match="immutable.yml:") as error:
        load(folder, GOOD.replace(old, new))
    assert message in error.value.message
