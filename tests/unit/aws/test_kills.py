# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller is killed around changing calls of a swap on EC2, and the next run comes to the same end."""
from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.aws.kills import one_after_the_other, sweep
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.swaplab import STRATEGIES, Clock, SwapLab


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_run_dies_after_one_change_and_the_swap_ends_all_the_same(cloud: Cloud, clock: Clock, strategy: str, late: bool) -> None:
    lab = SwapLab(cloud, clock, 2, strategy).old()
    assert one_after_the_other(lab, late) > 4
    lab.rest()


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_end_is_the_same_wherever_it_was_killed(cloud: Cloud, clock: Clock, strategy: str) -> None:
    swept = sweep(SwapLab(cloud, clock, 2, strategy).old(), [])
    assert not swept.others, swept.others[0]
    assert swept.kills == 2 * swept.calls
    print(f"{strategy}: {swept.calls} changing calls, {swept.kills} kills")
