# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a definition to a parameter of SSM. The real Packer bakes in a virtual machine; all calls go to moto."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import verify_digest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import amis_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from ansible_collections.immutable.infra.tests.support.build_machine import USER, BuildMachine
from ansible_collections.immutable.infra.tests.support.machines import STORE

pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")

OTHER = "eu-west-1"
GROUP = f"arn:aws:elasticloadbalancing:{REGION}:123456789012:targetgroup/shop/0123456789abcdef"
SECRET = "a-long-fake-token-of-the-bake"
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Only root can do this
      ansible.builtin.copy:
        content: "hello\\n"
        dest: /etc/shop.conf
        mode: "0600"
    - name: A secret is there
      ansible.builtin.assert:
        that: token == 'SECRET'
        quiet: true
""".replace("SECRET", SECRET)


def target(region: str, port: int, subnet: str) -> dict[str, Any]:
    options = {"ssh_host": "127.0.0.1", "ssh_port": port, "ssh_handshake_attempts": 1000, "tags": {"cost": "shop"}}
    return {
        "provider": "aws",
        "region": region,
        "network": {"subnets": {f"{region}a": subnet}},
        "traffic": {"target_groups": [GROUP]},
        "build": {"region": REGION, "ssh_username": USER, "options": options},
    }


def write(parent: Path, port: int, subnet: str) -> Path:
    folder = parent / "service"  # separate, because everything in it is an input of the bake
    folder.mkdir()
    definition = {
        "schema": 1,
        "service": "shop",
        "version": "1.0",
        "image": {
            "base": {"ami": {"owner": "self", "name": "debian-12-*"}, "python": "3.11"},
            "provision": {"playbook": "site.yml", "vars_files": ["secret.yml"]},
        },
        "health": {"tcp": {"port": 22}},
        "fleet": {"size": 1},
        "targets": {
            "staging": target(REGION, port, subnet),
            "prod": target(OTHER, port, "subnet-0123456789abcdef0"),
        },
    }
    (folder / "site.yml").write_text(PLAYBOOK, encoding="utf-8")
    (parent / "password").write_text("of-the-vault", encoding="utf-8")
    (folder / "secret.yml").write_text(f"token: {SECRET}\n", encoding="utf-8")
    subprocess.run(
        ["ansible-vault", "encrypt", "--vault-password-file", str(parent / "password"), str(folder / "secret.yml")],
        check=True,
    )
    (folder / "immutable.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    return folder / "immutable.yml"


class Controller:
    """Runs one module at a time. Only the store keeps anything between two runs."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        self._store = store

    def run(self, module: str, **options: Any) -> dict[str, Any]:
        output, play = self._folder / "result.json", self._folder / "play.yml"
        call = {
            f"immutable.infra.{module}": {"definition": str(self._folder / "service"), "store": self._store, **options},
            "register": "result",
        }
        save = {"ansible.builtin.copy": {"dest": str(output), "content": "{{ result | to_json }}", "mode": "0600"}}
        play.write_text(
            json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [call, save]}]), encoding="utf-8"
        )
        environment = {**os.environ, "XDG_CACHE_HOME": str(self._folder / f"cache-{module}")}
        argv = ["ansible-playbook", "--vault-password-file", str(self._folder / "password"), str(play)]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return found


@pytest.mark.usefixtures("keeper")  # its bake builds the base
def test_a_definition_becomes_amis_and_a_parameter(cloud: Cloud, tmp_path: Path) -> None:
    source, subnet = seeds.image(cloud, "debian-12-20260101"), seeds.network(cloud).subnets[0]
    store = f"s3://{seeds.bucket(cloud)}/shop"
    with BuildMachine(tmp_path, cloud, STORE / "bases/debian-bookworm/disk.qcow2") as machine:
        definition = write(tmp_path, machine.port, subnet)
        controller = Controller(tmp_path, store)
        baked = controller.run("image", target=["staging", "prod"])
    image = baked["image"]
    assert (image["build"], baked["images"]["prod"]) == ("aws-123456789012-x86_64", image)
    assert image["base"]["ami"] == source
    ec2 = cloud.boto("ec2")
    [ami] = ec2.describe_images(ImageIds=[image["artifact"]["ami"]])["Images"]
    tags = {tag["Key"]: tag["Value"] for tag in ami["Tags"]}
    assert {"cost", "Name", "immutable:service", "immutable:version", "immutable:store", "immutable:bake"} <= set(tags)
    assert tags["immutable:digest"] == image["digest"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert not [
        each
        for page in ec2.describe_instances()["Reservations"]
        for each in page["Instances"]
        if each["State"]["Name"] != "terminated"
    ]
    hardened = [call.parameters.get("ImdsSupport.Value") for call in cloud.calls("ec2", "ModifyImageAttribute")]
    assert [value for value in hardened if value] == ["v2.0"]
    records = open_store(store)
    kept = f"images/{image['digest'][7:]}/{image['build']}"
    log = records.read_blob(f"{kept}/packer.log") or b""
    assert b"Only root can do this" in log and SECRET.encode() not in log
    # What the disk contained after the build machine had shut down.
    manifest = Manifest.from_gzip(records.read_blob(f"{kept}/manifest.json.gz") or b"")
    assert manifest.files["/etc/shop.conf"][-1] == hashlib.sha256(b"hello\n").hexdigest()
    assert manifest.digest == image["digest"] and manifest.covers
    assert image["provenance"]["inspected"] == "snapshot"
    sbom = json.loads(records.read_blob(f"{kept}/sbom.cdx.json") or b"{}")
    assert "systemd" in {each["name"] for each in sbom["components"]}

    again = controller.run("image", target=["staging", "prod"])
    assert (again["changed"], again["due"]) == (False, False)

    catalogue, known = Catalogue(records), load_definition(definition)
    found = catalogue.get(image["digest"], image["build"])
    assert found is not None
    passed = {
        "verify": verify_digest(known, known.target("staging")),
        "at": datetime.now(timezone.utc).isoformat(),
        "checks": [],
    }
    catalogue.mark_verified(found, passed)
    verified = controller.run("image_verify", target="staging")
    assert (verified["changed"], verified["due"], verified["copied"]) == (True, False, [OTHER])
    assert controller.run("image_verify", target="staging")["changed"] is False
    amis = amis_of(verified["image"]["artifact"])
    assert set(amis) == {REGION, OTHER}

    promoted = controller.run("channel", target="staging", channel="prod", state="promoted")
    assert promoted["published"] == [f"/immutable/shop/prod/ami in {region}" for region in (REGION, OTHER)]
    for region, ami_id in amis.items():
        assert cloud.boto("ssm", region).get_parameter(Name="/immutable/shop/prod/ami")["Parameter"]["Value"] == ami_id
    assert controller.run("channel", target="prod", channel="prod", state="promoted")["changed"] is False
