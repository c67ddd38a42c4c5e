# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller is killed during a swap on real machines. The next run takes over at once and completes the swap."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import complete_after_kill

long = pytest.mark.long


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        pytest.param({}, "slot 0: launched", True, id="tree at launch", marks=long),
        pytest.param({}, "slot 0: volumes detached", False, id="ansible-playbook alone between detach and attach"),
        pytest.param({}, "slot 1: draining", True, id="tree while draining", marks=long),
        pytest.param({"strategy": "recreate"}, "slot 0: launched", True, id="recreate at launch", marks=long),
        pytest.param(
            {"strategy": "recreate", "hot": True}, "slot 0: volumes detached", True, id="hot recreate", marks=long
        ),
    ],
)
def test_with_data(keeper: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(keeper, fleet, mark, tree)


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        pytest.param({}, "slot 1: registered", True, id="rolling", marks=long),
        pytest.param(
            {"strategy": "blue_green"},
            "slot 0: launched",
            True,
            id="blue_green while the second fleet boots",
            marks=long,
        ),
        pytest.param({"strategy": "blue_green"}, "takes over", True, id="blue_green at the flip", marks=long),
        pytest.param(
            {"strategy": "recreate"}, "slot 1: told to stop", True, id="recreate while no instance serves", marks=long
        ),
        pytest.param(
            {"strategy": "recreate", "hot": True},
            "slot 0: sealed",
            False,
            id="hot recreate before the old ones stop",
            marks=long,
        ),
    ],
)
def test_without_data(plain: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(plain, fleet, mark, tree)
