# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller is killed during a swap on real machines. The next run takes over at once and completes the swap."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service

pytestmark = pytest.mark.vm
long = pytest.mark.long


@pytest.mark.parametrize(
    ("mark", "tree"),
    [
        pytest.param("slot 0: launched", True, id="tree at launch", marks=long),
        pytest.param("slot 0: volumes detached", False, id="ansible-playbook alone between detach and attach"),
        pytest.param("slot 1: draining", True, id="tree while draining", marks=long),
    ],
)
def test_rolling_with_data(keeper: Service, mark: str, tree: bool) -> None:
    words = keeper.write(f"{mark};")
    before = keeper.instances()
    keeper.greet(f"after {mark}", fleet={})
    keeper.kill_while_playing("swap", mark, tree)
    keeper.play("swap")
    after = keeper.converged(f"after {mark}", words)
    assert not {each["id"] for each in after} & {each["id"] for each in before}


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
        pytest.param({"strategy": "blue_green"}, "takes over", True, id="blue_green at the flip"),
        pytest.param({"strategy": "recreate"}, "slot 1: told to stop", True, id="recreate while no instance serves"),
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
    before = plain.instances()
    greeting = f"{fleet} {mark}".replace('"', "")
    plain.greet(greeting, fleet=fleet)
    plain.kill_while_playing("swap", mark, tree)
    plain.play("swap")
    after = plain.converged(greeting)
    assert not {each["id"] for each in after} & {each["id"] for each in before}


@long
@pytest.mark.parametrize("hot", [False, True])
def test_recreate_with_data(keeper: Service, hot: bool) -> None:
    words = keeper.write("recreated;")
    keeper.greet(f"recreated, hot {hot}", fleet={"strategy": "recreate", "hot": hot})
    keeper.kill_while_playing("swap", "slot 0: volumes detached" if hot else "slot 0: launched", tree=True)
    keeper.play("swap")
    keeper.converged(f"recreated, hot {hot}", words)
