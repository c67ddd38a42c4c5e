# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""fleet and fleet_info in a real ansible-playbook. Moto has the groups, a layer on top of it the refreshes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.refreshes import Refreshes
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from ansible_collections.immutable.infra.tests.support.aws.tasks import COLLECTIONS, run_task, run_tasks

OLD, NEW = "shop-1.0-111111111111", "shop-2.0-222222222222"


def definition() -> dict[str, Any]:
    target = {
        "provider": "aws",
        "network": {"subnets": {f"{REGION}a": "subnet-01234567"}},
        "settings": {"color": "red"},
        "fleet": {"engine": "autoscaling", "autoscaling": {"group": "shop", "checkpoints": [50, 100]}},
    }
    image = {"base": {"ami": "ami-01234567", "python": "3.11"}, "provision": {"playbook": "site.yml"}}
    return {
        "schema": 1,
        "service": "shop",
        "version": "1.0",
        "image": image,
        "health": {"http": {"port": 8080}},
        "targets": {"prod": target},
    }


def image_of(number: int, ami: str) -> Image:
    artifact = {"ami": ami, "region": REGION, "copies": {}}
    return Image(
        digest=f"sha256:{str(number) * 64}",
        build="aws-1-x86_64",
        service="shop",
        version=f"{number}.0",
        created=f"2026-01-0{number}T00:00:00Z",
        artifact=artifact,
        base={},
        inputs={},
        verified={"at": "now"},
    )


@pytest.fixture
def refreshes(cloud: Cloud) -> Refreshes:
    layer = Refreshes(cloud, "shop")
    cloud.proxy.layers.insert(0, layer)
    yield layer
    cloud.proxy.layers.remove(layer)


@pytest.fixture
def folder(tmp_path: Path, cloud: Cloud, refreshes: Refreshes) -> Path:
    """A folder with a definition, and a store whose channel prod points at what the group runs."""
    where = seeds.network(cloud)
    amis = [seeds.image(cloud, "old"), seeds.image(cloud, "new")]
    launch = {"LaunchTemplateId": seeds.template(cloud, amis[0], where), "Version": "1"}
    cloud.boto("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="shop",
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=2,
        VPCZoneIdentifier=where.subnets[0],
        LaunchTemplate=launch,
    )
    (tmp_path / "site.yml").write_text("[]\n", encoding="utf-8")
    (tmp_path / "immutable.yml").write_text(yaml.safe_dump(definition()), encoding="utf-8")
    store = FileStore(tmp_path / "store")
    images = [image_of(1, amis[0]), image_of(2, amis[1])]
    for image, channel in zip(images, ("prod", "next"), strict=True):
        Catalogue(store).add(image)
        Channels(store).promote("shop", channel, image, by="a test")
    return tmp_path


def test_a_group_is_refreshed_and_the_run_after_it_changes_nothing(
    folder: Path, cloud: Cloud, refreshes: Refreshes
) -> None:
    # Each observes once or twice.
    results = run_tasks(folder, [("fleet", {"channel": "next", "wait": False})] * 6)
    result = results[0]
    assert result["paused"] == "the refresh r-0 is running" and result["refresh"]["status"] == "InProgress"
    result = next(each for each in results if not each.get("paused"))
    assert not result.get("failed"), result["msg"]
    assert (result["paused"], result["refresh"]["status"], result["launch"].rpartition(":")[2]) == (
        None,
        "Successful",
        "2",
    )
    assert [(each["image_name"], each["outdated"], each["sealed"]) for each in result["instances"]] == [
        (NEW, False, True)
    ] * 2
    parameters = refreshes.found[0].parameters
    assert (
        parameters["DesiredConfiguration.LaunchTemplate.Version"],
        parameters["Preferences.CheckpointPercentages.member.1"],
    ) == ("2", "50")
    assert [call.action for call in cloud.calls(changing=True)] == [
        "CreateLaunchTemplateVersion",
        "StartInstanceRefresh",
    ]
    made = cloud.boto("ec2").describe_launch_template_versions(LaunchTemplateName="shop", Versions=["2"])[
        "LaunchTemplateVersions"
    ][0]["LaunchTemplateData"]
    assert made["InstanceType"] == "t3.micro" and made["SecurityGroupIds"]
    before = len(cloud.calls())
    result = run_task(folder, "fleet", "--diff", channel="next")
    assert not result["changed"] and [each["sealed"] for each in result["instances"]] == [True] * 2
    assert result["diff"]["before"] == result["diff"]["after"]
    assert sorted(call.action for call in cloud.calls()[before:]) == [
        "DescribeAutoScalingGroups", "DescribeInstanceRefreshes", "DescribeInstances", "DescribeLaunchTemplateVersions",
    ]  # fmt: skip
    assert cloud.count(changing=True) == 2
    assert len(list((folder / "store/fleets/shop-prod/records").iterdir())) == 1


def test_a_refresh_that_fails_fails_the_task(folder: Path, refreshes: Refreshes) -> None:
    refreshes.script = ("Failed",)
    result = run_task(folder, "fleet", channel="next", wait=False)
    assert (
        result["failed"]
        and "the refresh r-0 ended as Failed" in result["msg"]
        and result["refresh"]["status"] == "Failed"
    )
    assert [each["image_name"] for each in result["instances"]] == [OLD] * 2


def test_check_mode_predicts_the_steps_to_another_image(folder: Path) -> None:
    result = run_task(folder, "fleet", "--check", "--diff", channel="next")
    assert result["changed"] and [each["action"].split(" ")[0] for each in result["plan"]["steps"]] == [
        "create",
        "refresh",
    ]
    assert result["plan"]["preferences"]["MinHealthyPercentage"] == 100
    assert result["diff"]["after"].splitlines() == [f"instance 0: {NEW}", f"instance 1: {NEW}"]


def test_fleet_info_and_the_inventory_list_the_instances_of_the_group(folder: Path) -> None:
    result = run_task(folder, "fleet_info")
    assert (result["serving"], result["group"], result["refresh"]) == (2, "shop", None)
    assert [each["name"] for each in result["hosts"]] == ["shop-prod-0", "shop-prod-1"]
    (folder / "immutable_fleet.yml").write_text(
        yaml.safe_dump({"plugin": "immutable.infra.fleet", "definitions": ["immutable.yml"], "store": "store"}),
        encoding="utf-8",
    )
    argv = [sys.executable, "-m", "ansible", "inventory", "-i", str(folder / "immutable_fleet.yml"), "--list"]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_INVENTORY_ENABLED": "immutable.infra.fleet",
    }
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    listed = json.loads(done.stdout)
    assert sorted(listed["_meta"]["hostvars"]) == ["shop-prod-0", "shop-prod-1"], done.stderr
    assert listed["image_shop_1_0_111111111111"]["hosts"] == ["shop-prod-0", "shop-prod-1"]


REFUSED = [
    (
        {"state": "absent"},
        "the group of target prod belongs to Auto Scaling; remove it with the tool that created it",
    ),
    (
        {"approve": True},
        "approve has no effect on target prod: "
        "Auto Scaling has no gate that waits for approval (allowed: leave it out)",
    ),
    ({"ignore_windows": True}, "ignore_windows has no effect on target prod"),
    ({"remove_volumes": ["a"]}, "remove_volumes has no effect on target prod"),
]


def test_what_has_no_effect_on_auto_scaling_is_refused(folder: Path) -> None:
    marked = ("host_mark", {"hosts": ["shop-prod-0"], "mark": "protected", "reason": "why"})
    *results, mark = run_tasks(folder, [*(("fleet", options) for options, _message in REFUSED), marked])
    for result, (options, message) in zip(results, REFUSED, strict=True):
        assert result["failed"] and message in result["msg"], options
    assert mark["failed"] and "whose engine is autoscaling: its instances belong to its group" in mark["msg"]
