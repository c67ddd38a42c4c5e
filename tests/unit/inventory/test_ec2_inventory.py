# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The calls that ansible-inventory makes to list a fleet on EC2 with a store in S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

COLLECTIONS = Path(loading.__file__).parents[6]


@pytest.fixture
def shop(cloud: Cloud, bucket: S3Store, tmp_path: Path) -> Shop:
    made = Shop(cloud, tmp_path)
    made.store = bucket
    made.image("1.0.0")
    source = {"plugin": "immutable.infra.fleet", "definitions": ["immutable.yml"], "store": LOCATION}
    (tmp_path / "immutable_fleet.yml").write_text(yaml.safe_dump(source), encoding="utf-8")
    return made


def listed(shop: Shop, size: int) -> tuple[list[str], list[Call]]:
    """Return the hosts of a fleet of that size, and the calls that listing them makes with an empty cache."""
    shop.document["fleet"].update(size=size, surge=size)
    shop.run()
    shop.cloud.proxy.forget()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "XDG_CACHE_HOME": str(shop.folder / f"empty-{size}"),
    }
    argv = [sys.executable, "-m", "ansible", "inventory", "-i", str(shop.folder / "immutable_fleet.yml"), "--list"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    inventory: dict[str, Any] = json.loads(done.stdout)
    assert "sealed" in inventory, done.stderr
    assert not shop.cloud.calls(changing=True)
    return inventory["sealed"]["hosts"], shop.cloud.calls()


def counted(calls: list[Call]) -> Counter[str]:
    return Counter(f"{call.service}:{call.action}" for call in calls)


def test_many_hosts_take_one_describe_and_as_many_store_calls_as_two(shop: Shop) -> None:
    """An answer has room for 1,000 hosts, so a fleet of that size takes no more calls than this one."""
    few, first = listed(shop, 2)
    many, second = listed(shop, 20)
    assert (len(few), len(many)) == (2, 20)
    assert counted(first) == counted(second)
    [describe] = [call for call in second if call.service != "s3"]
    assert (describe.service, describe.action, describe.parameters["MaxResults"]) == (
        "ec2",
        "DescribeInstances",
        "1000",
    )
    assert len(second) <= 9
