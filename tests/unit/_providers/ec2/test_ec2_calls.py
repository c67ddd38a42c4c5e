# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many calls a swap on AWS makes, where each of its steps is over at the next look."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

SURGE, WAVES = 2, 4
# DescribeInstances, DescribeVolumes, DescribeTargetHealth and DescribeTargetGroups before the first launch; the group's
# delay once; DescribeInstances and DescribeTargetHealth at the end; the load balancer and its listeners for the result.
ONCE = 4 + 1 + 2 + 2


@pytest.mark.parametrize(
    ("counted", "wave", "last"),
    [
        # RunInstances, RegisterTargets, DeregisterTargets, TerminateInstances; a look before all but the first.
        (True, 4 + 3, 0),
        # RunInstances, RegisterTargets, DeregisterTargets; a look before the latter two. A look before the one removal.
        (False, 3 + 2, 2),
    ],
)
def test_the_calls_of_a_rolling_swap_grow_with_its_waves_only(
    cloud: Cloud, tmp_path: Path, counted: bool, wave: int, last: int
) -> None:
    shop = Shop(cloud, tmp_path)
    shop.document["fleet"].update(size=SURGE * WAVES, surge=SURGE, count_draining=counted)
    shop.image("1.0.0")
    shop.run()
    shop.image("2.0.0")
    before = cloud.count()
    result = shop.run()
    actions = [call.action for call in cloud.calls()[before:]]
    consoles = actions.count("GetConsoleOutput")
    assert consoles == SURGE * WAVES, "one for each instance"
    # Where drains take places, each further zone begins after one more look, at the instances.
    zones = len(shop.network.zones) - 1 if counted else 0
    assert len(actions) - consoles == WAVES * wave + last + ONCE + zones, actions
    assert result["lowest_in_service"] == SURGE * WAVES
