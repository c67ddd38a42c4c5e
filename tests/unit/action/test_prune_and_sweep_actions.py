# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""image_prune and sweep in a real ansible-playbook, on a target on AWS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.keys import store_id
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from ansible_collections.immutable.infra.tests.support.aws.tasks import run_task, run_tasks

BUILDS = "us-east-1"  # the region of the bakes


@pytest.fixture
def folder(tmp_path: Path, cloud: Cloud) -> Path:
    """A folder with a definition, and a store with images 1 to 3."""
    where = seeds.network(cloud)
    target = {
        "provider": "aws",
        "region": REGION,
        "network": {"subnets": {where.zones[0]: where.subnets[0]}},
        "traffic": {"target_groups": list(seeds.balancer(cloud, where).groups)},
        "build": {"region": BUILDS},
    }
    image = {"base": {"ami": "ami-01234567", "python": "3.11"}, "provision": {"playbook": "site.yml"}}
    data = {
        "schema": 1,
        "service": "shop",
        "version": "1.0",
        "image": image,
        "health": {"http": {"port": 8080}},
        "targets": {"prod": target},
    }
    (tmp_path / "site.yml").write_text("[]\n", encoding="utf-8")
    (tmp_path / "immutable.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    catalogue = Catalogue(FileStore(tmp_path / "store"))
    tags = {"immutable:store": store_id(FileStore(tmp_path / "store"))}
    for number in (1, 2, 3):
        copies = {REGION: {"ami": seeds.image(cloud, f"shop-{number}", tags), "snapshots": []}}
        artifact = {
            "ami": seeds.image(cloud, f"shop-{number}", tags, region=BUILDS),
            "region": BUILDS,
            "name": f"shop-{number}",
            "snapshots": [],
            "copies": copies,
        }
        at = f"2026-01-0{number}T00:00:00+00:00"
        catalogue.add(
            Image(
                digest=f"sha256:{str(number) * 64}",
                build="aws-123456789012-x86_64",
                service="shop",
                version=f"{number}.0",
                created=at,
                artifact=artifact,
                base={},
                inputs={},
                verified={"at": at},
            )
        )
    return tmp_path


def play(folder: Path, module: str, *flags: str, **options: Any) -> dict[str, Any]:
    result = run_task(folder, module, *flags, **options)
    assert not result.get("failed"), result["msg"]
    return result


def names(cloud: Cloud, region: str) -> set[str]:
    return {image["Name"] for image in cloud.boto("ec2", region).describe_images(Owners=["self"])["Images"]}


def test_an_old_image_is_removed_from_both_regions_and_one_in_use_stays(folder: Path, cloud: Cloud) -> None:
    used = FileStore(folder / "store").read(f"images/{'2' * 64}/aws-123456789012-x86_64/record.json")[0]["artifact"][
        "copies"
    ][REGION]["ami"]
    instance = cloud.boto("ec2").run_instances(ImageId=used, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    cloud.proxy.forget()
    predicted = play(folder, "image_prune", "--check", "--diff", keep=1)
    assert cloud.count(changing=True) == 0 and predicted["changed"]
    result, again = run_tasks(folder, [("image_prune", {"keep": 1})] * 2)
    assert not result.get("failed"), result["msg"]
    assert (
        [each["version"] for each in result["removed"]] == [each["version"] for each in predicted["removed"]] == ["1.0"]
    )
    assert result["kept"][1]["why"] == [f"instance {instance} runs it ({used} in {REGION})"]
    assert names(cloud, REGION) == names(cloud, BUILDS) == {"shop-2", "shop-3"}
    assert (
        sorted(call.action for call in cloud.calls(changing=True)) == ["DeleteSnapshot"] * 2 + ["DeregisterImage"] * 2
    )
    assert not again["changed"]


def test_leftovers_of_a_killed_bake_are_removed_on_request(folder: Path, cloud: Cloud) -> None:
    tags = {"immutable:store": store_id(FileStore(folder / "store")), "immutable:bake": "bake-aaaaaaaaaaaa"}
    stray = seeds.image(cloud, "shop-4", tags, region=BUILDS)
    removal = {"older_than": "0s", "state": "absent"}
    calls = [{}, {"older_than": "0s"}, {**removal, "check_mode": True}]
    young, result, predicted = run_tasks(folder, [("sweep", options) for options in calls])
    assert young["orphans"] == []
    assert not result["changed"] and result["removed"] == []
    assert [(each["kind"], each["id"], each["place"], each["bake"], each["fleet"]) for each in result["orphans"]] == [
        ("image", stray, BUILDS, "bake-aaaaaaaaaaaa", "")
    ]
    assert predicted["removed"] and "shop-4" in names(cloud, BUILDS)
    assert [each["id"] for each in play(folder, "sweep", **removal)["removed"]] == [stray]
    assert names(cloud, BUILDS) == {"shop-1", "shop-2", "shop-3"}
