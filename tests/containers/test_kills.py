# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller is killed at every step of a swap of containers. The next run completes the swap."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import complete_after_kill

ROLLING: dict[str, object] = {}
BLUE_GREEN: dict[str, object] = {"strategy": "blue_green"}
CANARY: dict[str, object] = {"strategy": "canary", "canary": [{"instances": 1}]}
RECREATE: dict[str, object] = {"strategy": "recreate"}
HOT: dict[str, object] = {"strategy": "recreate", "hot": True}


def name_of(value: object) -> str | None:
    """The name of a strategy in a test's name."""
    if not isinstance(value, dict):
        return None
    return f"{value.get('strategy', 'rolling')}{' hot' if value.get('hot') else ''}"


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        (ROLLING, "slot 0: launched", True),
        (ROLLING, "slot 0: draining", False),
        (ROLLING, "slot 0: told to stop", True),
        (ROLLING, "slot 0: volumes detached", False),
        (ROLLING, "slot 0: volumes attached", True),
        (ROLLING, "slot 1: registered", True),
        (RECREATE, "slot 0: launched", True),
        (HOT, "slot 0: volumes detached", True),
    ],
    ids=name_of,
)
def test_with_data(keeper: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(keeper, fleet, mark, tree)


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        (ROLLING, "slot 0: launched", False),
        (ROLLING, "slot 1: registered", True),
        (BLUE_GREEN, "slot 0: launched", True),
        (BLUE_GREEN, "takes over", True),
        (BLUE_GREEN, "slot 1: told to stop", False),
        (CANARY, "in service", True),
        (RECREATE, "slot 1: told to stop", True),
        (HOT, "slot 0: sealed", False),
    ],
    ids=name_of,
)
def test_without_data(plain: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(plain, fleet, mark, tree)
