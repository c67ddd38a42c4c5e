# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole swaps on a real control plane of OpenStack, and what is left of a controller that is killed during one."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from ansible_collections.immutable.infra.tests.support.openstack.swaplab import STRATEGIES, SwapLab
from ansible_collections.immutable.infra.tests.support.swap_kills import kill_every_run, sweep

KILLS = 3  # of a swap in the usual run, evenly spread over its changes; the long one has all of them


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_swap_ends_the_same_wherever_it_is_killed(project: Project, strategy: str) -> None:
    lab = SwapLab(project, 2, strategy).with_old_image()
    volumes = {each.id for each in project.cloud.block_storage.volumes()}
    swept = sweep(lab, [], KILLS)
    assert not swept.different_ends, swept.different_ends[0]
    assert swept.kills == KILLS
    assert {each.id for each in project.cloud.block_storage.volumes()} == volumes


@pytest.mark.parametrize(
    "strategy", [name if name == "rolling, data" else pytest.param(name, marks=pytest.mark.long) for name in STRATEGIES]
)
def test_a_swap_completes_though_every_run_dies_after_one_change(project: Project, strategy: str) -> None:
    lab = SwapLab(project, 2, strategy).with_old_image()
    assert kill_every_run(lab, late=True) > 4
    lab.assert_settled()


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_kill_of_a_swap(project: Project, strategy: str) -> None:
    swept = sweep(SwapLab(project, 2, strategy).with_old_image(), [])
    assert not swept.different_ends, swept.different_ends[0]
    assert swept.kills == 2 * swept.calls
    print(f"{strategy}: {swept.calls} changing calls, {swept.kills} kills")
