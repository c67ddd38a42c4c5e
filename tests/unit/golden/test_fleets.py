# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet of 0.1.0 on AWS is observed unchanged: nothing is due and no host is replaced."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import calls, plain, recorded

QUIET = ("fleets/ec2", "fleets/group")


def agree(expected: Any, found: Any) -> None:
    lines = list(plain.differing(expected, found))
    assert not lines, "\n".join(lines[:20])


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_due_on_a_fleet_of_0_1_0(name: str, tmp_path: Path) -> None:
    kept = plain.golden(name)
    found = recorded.replayed(kept, tmp_path)
    agree(kept["results"], plain.without_later(found["results"]))
    assert not any(each["changed"] for each in found["results"].values())
    assert found["results"]["check"]["plan"]["steps"] == []
    assert found["changing"] == [] and found["unknown"] == []
    agree(kept["documents"], found["documents"])


@pytest.mark.parametrize(
    ("before", "after"), [("color: red", "color: blue"), ("size: 10G", "size: 12G"), ("port: 8080", "port: 8081")]
)
def test_a_changed_definition_makes_a_swap_due(before: str, after: str, tmp_path: Path) -> None:
    """Show that the replay notices a change. The health port is not part of the fingerprint."""
    kept = copy.deepcopy(plain.golden("fleets/ec2"))
    kept["definition"]["immutable.yml"] = [line.replace(before, after) for line in kept["definition"]["immutable.yml"]]
    found = recorded.replayed(kept, tmp_path, tasks=("check",))["results"]["check"]
    assert found["changed"] is (before != "port: 8080"), found


@pytest.mark.parametrize(
    "tag", ["immutable:launch", "immutable:image", "immutable:slots", "immutable:nonce", "immutable:fleet"]
)
def test_each_tag_of_a_host_counts(tag: str, tmp_path: Path) -> None:
    kept = copy.deepcopy(plain.golden("fleets/ec2"))
    for each in kept["calls"]:
        if each["call"] == "ec2:DescribeInstances":
            tags = each["answer"]["Reservations"][0]["Instances"][0]["Tags"]
            tags[:] = [one for one in tags if one["Key"] != tag]
    found = recorded.replayed(kept, tmp_path, tasks=("info",))["results"]["info"]
    assert found["instances"] != kept["results"]["info"]["instances"]


@pytest.mark.parametrize("name", calls.ENTRIES)
def test_calls_to_aws_are_the_same_as_by_0_1_0(name: str, tmp_path: Path) -> None:
    plain.compare(name, calls.ENTRIES[name](tmp_path))


def test_the_plan_for_a_group_is_the_same_as_by_0_1_0(tmp_path: Path) -> None:
    kept = plain.golden("fleets/group_before")
    found = recorded.replayed(kept, tmp_path, tasks=("check",))
    assert found["results"]["check"]["changed"] and found["changing"] == [] and found["unknown"] == []
    # They run a version that 0.1.0 made for this image without a launch document. Since 0.3.0 a refresh replaces it.
    assert all(each["outdated"] for each in found["results"]["check"]["instances"])
    instances = [{**each, "outdated": False} for each in found["results"]["check"]["instances"]]
    agree(kept["results"]["check"]["instances"], instances)
    agree(kept["results"]["check"]["plan"]["preferences"], found["results"]["check"]["plan"]["preferences"])
