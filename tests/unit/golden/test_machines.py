# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet of virtual machines of 0.1.0 is observed unchanged, and new machines get the same files."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import machines, plain

NONCE = re.compile(r"0{12,}[0-9a-f]{1,4}")  # as ``produced.steady`` makes them


def agree(expected: Any, found: Any) -> None:
    lines = list(plain.differing(expected, found))
    assert not lines, "\n".join(lines[:20])


def without_nonces(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nonces(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_nonces(part) for part in value]
    return NONCE.sub("<nonce>", value) if isinstance(value, str) else value


def test_nothing_is_due_on_machines_of_0_1_0(tmp_path: Path) -> None:
    kept = plain.golden("fleets/qemu")
    found = machines.replayed(kept, tmp_path)
    agree(kept["results"], plain.without_later(found["results"]))
    assert not any(each["changed"] for each in found["results"].values())
    assert found["results"]["check"]["plan"]["steps"] == []
    agree(kept["documents"], found["documents"])


@pytest.mark.parametrize("fact", ["image", "launch", "nonce", "slot", "tags"])
def test_each_fact_of_a_machine_counts(fact: str, tmp_path: Path) -> None:
    kept = copy.deepcopy(plain.golden("fleets/qemu"))
    machine = next(document for key, document in kept["documents"].items() if key.endswith("/machine.json"))
    machine[fact] = {"slot": 7, "tags": {**machine["tags"], "port": "22"}}.get(fact, "another")
    found = machines.replayed(kept, tmp_path, ("info",))["results"]["info"]
    assert found["instances"] != kept["results"]["info"]["instances"]


def test_new_machines_get_the_same_files_as_by_0_1_0(tmp_path: Path) -> None:
    kept, found = without_nonces(plain.golden("fleets/qemu")), without_nonces(machines.fleet_on_qemu(tmp_path))
    for each in (kept, found):  # durations differ from run to run
        for key in [key for key in each["documents"] if "/records/" in key]:
            del each["documents"][key]["timeline"], each["documents"][key]["downtime"]
    agree(kept["documents"], found["documents"])
    agree(kept["launches"], found["launches"])
