# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine of 0.1.0 left is left in peace where it was done, and brought to the same end where it was killed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import plain, simulated


def agree(expected: Any, found: Any) -> None:
    lines = list(plain.differing(expected, found))
    assert not lines, "\n".join(lines[:20])


def test_nothing_is_due_on_a_fleet_at_rest() -> None:
    given = plain.golden("fleets/simulated")
    found = simulated.run(given["kept"], given["asked"])
    agree(given["next"], simulated.told(found))
    assert not found["result"]["changed"] and found["calls"] == []
    agree(given["kept"]["documents"], found["documents"])


@pytest.mark.parametrize("place", ["launch", "image"])
def test_another_launch_or_image_is_due(place: str) -> None:
    given = copy.deepcopy(plain.golden("fleets/simulated"))
    given["kept"]["instances"][0][place] = "another"
    assert simulated.run(given["kept"], given["asked"])["result"]["changed"]


@pytest.mark.parametrize("name", simulated.CASES)
def test_a_swap_that_was_killed_at_0_1_0_ends_as_it_would_have_there(name: str) -> None:
    given = plain.golden(f"interrupted/{name}")
    assert given["kept"]["documents"]["fleets/shop-prod/intent.json"]["status"] == "open"
    agree(given["ended"], simulated.ended(simulated.run(given["kept"], given["asked"], sick=given["sick"])))


def test_a_rollout_is_rehearsed_with_the_same_outcome(tmp_path: Path) -> None:
    plain.compare("fleets/rehearsed", simulated.rehearsed(tmp_path))


def test_a_gates_playbook_is_given_the_same(tmp_path: Path) -> None:
    plain.compare("fleets/gate", simulated.gate(tmp_path))
