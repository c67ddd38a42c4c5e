# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The task itself, by ansible-playbook, on a group at moto: what needs no refresh, which moto lacks."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils.definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils.images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils.images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils.images.model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils.store.file import FileStore

moto_server = pytest.importorskip("moto.server")
REGION, OLD, NEW = "eu-west-1", "ami-0000000000000000a", "ami-0000000000000000b"
COLLECTIONS = Path(loading.__file__).parents[6]


def definition(endpoint: str) -> dict[str, Any]:
    target = {
        "provider": "aws",
        "region": REGION,
        "endpoint_url": endpoint,
        "network": {"subnets": {"eu-west-1a": "subnet-01234567"}},
        "fleet": {"engine": "autoscaling", "autoscaling": {"group": "shop"}},
    }
    image = {"base": {"ami": OLD, "python": "3.11"}, "provision": {"playbook": "site.yml"}}
    return {"schema": 1, "service": "shop", "version": "1.0", "image": image, "health": {"http": {"port": 8080}}, "targets": {"prod": target}}


def image_of(number: int, ami: str) -> Image:
    artifact = {"ami": ami, "region": REGION, "copies": {}}
    return Image(f"sha256:{str(number) * 64}", "aws-1-x86_64", "shop", f"{number}.0", f"2026-01-0{number}T00:00:00Z", artifact, {}, {}, verified={"at": "now"})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a definition, and a store whose channel prod points at what the group runs."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing-testing-testing")
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    (tmp_path / "site.yml").write_text("[]\n", encoding="utf-8")
    (tmp_path / "immutable.yml").write_text(yaml.safe_dump(definition(endpoint)), encoding="utf-8")
    store = FileStore(tmp_path / "store")
    for number, ami in ((1, OLD), (2, NEW)):
        Catalogue(store).add(image_of(number, ami))
    Channels(store).promote("shop", "prod", image_of(1, OLD), "a test")
    Channels(store).promote("shop", "next", image_of(2, NEW), "a test")
    make_group(endpoint)
    yield tmp_path
    server.stop()


def make_group(endpoint: str) -> None:
    data = {"ImageId": OLD, "InstanceType": "t3.micro"}
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=endpoint)
    template = ec2.create_launch_template(LaunchTemplateName="shop", LaunchTemplateData=data)["LaunchTemplate"]["LaunchTemplateId"]
    groups = boto3.client("autoscaling", region_name=REGION, endpoint_url=endpoint)
    launch = {"LaunchTemplateId": template, "Version": "1"}
    groups.create_auto_scaling_group(
        AutoScalingGroupName="shop", MinSize=0, MaxSize=4, DesiredCapacity=2, AvailabilityZones=[f"{REGION}a"], LaunchTemplate=launch
    )


@pytest.fixture
def refreshes(place: Path) -> Iterator[None]:
    """moto lacks the call: a plugin of the play's own answers that there were none."""
    hook = place / "sitecustomize.py"
    hook.write_text(
        "import botocore.client\n"
        "made = botocore.client.BaseClient._make_api_call\n"
        "def answer(self, name, given):\n"
        "    return {'InstanceRefreshes': []} if name == 'DescribeInstanceRefreshes' else made(self, name, given)\n"
        "botocore.client.BaseClient._make_api_call = answer\n",
        encoding="utf-8",
    )
    yield


def play(place: Path, module: str, *flags: str, **options: Any) -> dict[str, Any]:
    task = {f"immutable.infra.{module}": {"definition": str(place), "store": str(place / "store"), "target": "prod", **options}, "register": "told"}
    kept = {"ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(place / "told.json")}, "check_mode": False, "diff": False}
    book = [{"hosts": "localhost", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}, kept]}]
    (place / "play.yml").write_text(json.dumps(book), encoding="utf-8")
    paths = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "PYTHONPATH": paths}
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(place / "play.yml"), *flags]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (place / "told.json").exists(), done.stdout + done.stderr
    return json.loads((place / "told.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("refreshes")
def test_a_group_that_runs_the_image_is_left_alone(place: Path) -> None:
    told = play(place, "fleet", "--diff")
    assert not told.get("failed"), told["msg"]
    assert (told["changed"], told["image_name"], told["group"], told["size"]) == (False, "shop-1.0-111111111111", "shop", 2)
    assert [(each["image_name"], each["outdated"], each["serving"]) for each in told["instances"]] == [("shop-1.0-111111111111", False, True)] * 2
    assert told["diff"]["before"] == told["diff"]["after"]
    assert not (place / "store/leases").exists()


@pytest.mark.usefixtures("refreshes")
def test_check_mode_tells_what_another_image_would_need(place: Path) -> None:
    told = play(place, "fleet", "--check", "--diff", channel="next")
    assert told["changed"] and [each["action"].split(" ")[0] for each in told["plan"]["steps"]] == ["make", "refresh"]
    assert told["plan"]["preferences"]["MinHealthyPercentage"] == 100
    assert told["diff"]["after"].splitlines() == ["instance 0: shop-2.0-222222222222", "instance 1: shop-2.0-222222222222"]


@pytest.mark.usefixtures("refreshes")
def test_fleet_info_and_the_inventory_tell_the_groups_instances(place: Path) -> None:
    told = play(place, "fleet_info")
    assert (told["serving"], told["group"], told["refresh"]) == (2, "shop", None)
    assert [each["name"] for each in told["hosts"]] == ["shop-prod-0", "shop-prod-1"]
    (place / "hosts.immutable.yml").write_text(
        yaml.safe_dump({"plugin": "immutable.infra.fleet", "definitions": ["immutable.yml"], "store": "store"}), encoding="utf-8"
    )
    argv = [sys.executable, "-m", "ansible", "inventory", "-i", str(place / "hosts.immutable.yml"), "--list"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_INVENTORY_ENABLED": "immutable.infra.fleet"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    listed = json.loads(done.stdout)
    assert sorted(listed["_meta"]["hostvars"]) == ["shop-prod-0", "shop-prod-1"], done.stderr
    assert listed["image_shop_1_0_111111111111"]["hosts"] == ["shop-prod-0", "shop-prod-1"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"state": "absent"}, "belongs to Auto Scaling, so its group is not ours to remove"),
        ({"approve": True}, "approve is of no use on target prod: Auto Scaling has no gate that a person passes (allowed: leave it out)"),
        ({"ignore_windows": True}, "ignore_windows is of no use on target prod"),
        ({"remove_volumes": ["a"]}, "remove_volumes is of no use on target prod"),
    ],
)
def test_what_auto_scaling_does_not_do_is_refused(options: dict[str, Any], told: str, place: Path) -> None:
    result = play(place, "fleet", **options)
    assert result["failed"] and told in result["msg"]


def test_hosts_of_a_group_cannot_be_marked(place: Path) -> None:
    result = play(place, "host_mark", hosts=["shop-prod-0"], mark="protected", reason="why")
    assert result["failed"] and "whose engine is autoscaling: its instances belong to its group" in result["msg"]
