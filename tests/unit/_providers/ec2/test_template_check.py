# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Launch templates that would keep a swap from its work are refused before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.template_check import template_obstacles
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"InstanceType": "t3.micro", "InstanceMarketOptions": {"MarketType": "on-demand"}}, []),
        ({"HibernationOptions": {"Configured": False}, "DisableApiStop": False, "DisableApiTermination": False}, []),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, ["it requests spot instances"]),
        ({"InstanceMarketOptions": {"MarketType": "capacity-block"}}, ["it requests capacity-block instances"]),
        ({"HibernationOptions": {"Configured": True}}, ["it allows hibernation"]),
        ({"DisableApiTermination": True}, ["its instances cannot be removed"]),
        (
            {"DisableApiStop": True, "DisableApiTermination": True},
            ["its instances cannot be removed", "its instances cannot be stopped or removed"],
        ),
    ],
)
def test_obstacles_of_a_template(data: dict[str, Any], expected: list[str]) -> None:
    assert [obstacle.partition(" (")[0] for obstacle in template_obstacles(data)] == expected


def test_a_template_with_protection_is_refused_before_anything_begins(cloud: Cloud, tmp_path: Path) -> None:
    data = {"InstanceType": "t3.micro", "DisableApiTermination": True, "InstanceMarketOptions": {"MarketType": "spot"}}
    ec2 = cloud.boto("ec2")
    made = ec2.create_launch_template(LaunchTemplateName="shop", LaunchTemplateData=data)["LaunchTemplate"]
    template = made["LaunchTemplateId"]
    ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData={"InstanceType": "t3.small"})
    shop = Shop(cloud, tmp_path, machine={"launch_template": {"id": template, "version": 1}})
    shop.image("1.0.0")
    with pytest.raises(ProviderError, match=r"version 1 of lt-\w+ cannot.*spot.*DisableApiTermination.*Nothing"):
        shop.run()
    assert not cloud.calls("ec2", changing=True) and not shop.store.read("fleets/shop-prod/intent.json")
    shop.target["machine"]["launch_template"]["version"] = 2
    assert shop.run()["changed"] and len(shop.instances()) == 3
    before = cloud.count()
    assert not shop.run()["changed"], "and with nothing due the template is not read"
    assert "DescribeLaunchTemplateVersions" not in [call.action for call in cloud.calls()[before:]]
