# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole swaps of a fleet on EC2, by the real engine, provider and balancer over HTTP."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.aws.fleet import FLEET, Shop, tags_of
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud


@pytest.fixture
def shop(cloud: Cloud, tmp_path: Path) -> Shop:
    return Shop(cloud, tmp_path)


def test_a_fleet_is_created_swapped_and_then_left_in_peace(shop: Shop) -> None:
    first = shop.image("1.0.0")
    made = shop.run()
    assert made["changed"] and [each["serving"] for each in made["instances"]] == [True] * 3
    assert [each.action for each in shop.cloud.calls("ec2", changing=True)] == ["RunInstances"] * 2, "one for each zone"
    assert {each["ImageId"] for each in shop.instances()} == {first.artifact["ami"]}
    assert shop.registered() == {each["InstanceId"] for each in shop.instances()}
    second = shop.image("2.0.0")
    swapped = shop.run()
    assert [each["serving"] for each in swapped["instances"]] == [True] * 3
    assert {each["ImageId"] for each in shop.instances()} == {second.artifact["ami"]}
    assert shop.registered() >= {each["InstanceId"] for each in shop.instances()}
    before = shop.cloud.count()
    quiet = shop.run()
    assert not quiet["changed"]
    calls = [each.action for each in shop.cloud.calls()[before:]]
    assert sorted(calls) == ["DescribeInstances", "DescribeTargetHealth", "DescribeVolumes"]
