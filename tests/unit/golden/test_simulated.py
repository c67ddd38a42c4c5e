# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A finished fleet of 0.1.0 stays unchanged, and an interrupted swap comes to the same end."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import plain, simulated


def agree(expected: Any, found: Any) -> None:
    lines = list(plain.differing(expected, found))
    assert not lines, "\n".join(lines[:20])


RECIPE = {
    **{"image": simulated.NEW, "build": "", "size": 3, "volumes": [], "ports": [], "authorized_keys": []},
    **{"settings": {}, "secrets": {}, "machine": {}, "tags": {}},
}


def test_nothing_is_due_on_a_finished_fleet() -> None:
    given = plain.golden("fleets/simulated")
    found = simulated.run(given["kept"], given["asked"])
    agree(given["next"], simulated.summary(found))
    assert not found["result"]["changed"] and found["calls"] == []
    agree(given["kept"]["documents"], found["documents"])


@pytest.mark.parametrize("place", ["launch", "image"])
def test_another_launch_or_image_is_due(place: str) -> None:
    given = copy.deepcopy(plain.golden("fleets/simulated"))
    given["kept"]["instances"][0][place] = "another"
    # The fleet was recorded with something else in place of its recipes, which a swap checks.
    given["kept"]["documents"].update({key: RECIPE for key in given["kept"]["documents"] if "/recipes/" in key})
    assert simulated.run(given["kept"], given["asked"])["result"]["changed"]


@pytest.mark.parametrize("name", simulated.CASES)
def test_an_interrupted_swap_of_0_1_0_comes_to_the_same_end(name: str) -> None:
    given = plain.golden(f"interrupted/{name}")
    assert given["kept"]["documents"]["fleets/shop-prod/intent.json"]["status"] == "open"
    agree(given["ended"], simulated.ended(simulated.run(given["kept"], given["asked"], sick=given["sick"])))


def slower(expected: Any, found: Any) -> Any:
    """Return what was found with the times of 0.1.0 where it was slower: a later release may do the same faster."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return {
            key: max(value, expected[key])
            if key in ("created", "duration") and key in expected
            else slower(expected.get(key), value)
            for key, value in found.items()
        }
    if isinstance(found, list) and isinstance(expected, list):
        return [slower(*pair) for pair in zip(expected, found, strict=True)]
    return found


def test_a_rehearsal_has_the_same_outcome_and_is_not_slower(tmp_path: Path) -> None:
    expected = plain.golden("fleets/rehearsed")
    agree(expected, slower(expected, simulated.rehearsed(tmp_path)))


def test_a_gates_playbook_gets_the_same_input(tmp_path: Path) -> None:
    plain.compare("fleets/gate", simulated.gate(tmp_path))
