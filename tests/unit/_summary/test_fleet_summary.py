# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people see of a fleet and of a swap: golden texts, for fleets of any size and whatever instances say."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._summary.summarize import with_summary

NOW = 1_000_000.0
DIGEST = "sha256:" + "2" * 64


def instance(slot: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"shop-prod-{slot}-b",
        "slot": slot,
        "image": DIGEST,
        "image_name": "shop-2.0-222222222222",
        "state": "running",
        "sealed": True,
        "healthy": True,
        "problem": "",
        "serving": True,
        "outdated": False,
        "volumes": [],
        "zone": None,
        "tainted": None,
        "protected": None,
        "standby": None,
        "created": "1970-01-12T12:46:40Z",
        **changes,
    }


OLD = {"image": "sha256:" + "1" * 64, "image_name": "shop-1.0-111111111111", "outdated": True, "id": "old"}


def result(count: int, *changed: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A result of a fleet of ``count`` instances, the first of which differ by ``changed``."""
    changes = [*changed, *[{}] * count][:count]
    return {
        "changed": False,
        "fleet": "shop-prod",
        "image": DIGEST,
        "image_name": "shop-2.0-222222222222",
        "size": count,
        "instances": [instance(slot, **each) for slot, each in enumerate(changes)],
        "endpoint": "http://127.0.0.1:8080",
        **keys,
    }


def shown(action: str, data: dict[str, Any], width: int = 100) -> str:
    lines = with_summary(action, data, now=NOW, width=width)["summary"]
    assert all(isinstance(line, str) and "\n" not in line for line in lines)
    return "\n".join(lines)


def test_a_fleet_without_instances() -> None:
    assert shown("fleet_info", result(0, size=3)) == (
        "shop-prod: no instances, 3 wanted; the channel has shop-2.0-222222222222"
    )
    assert shown("fleet_info", result(0, size=3, image=None, image_name=None)) == (
        "shop-prod: no instances, 3 wanted; the channel has no image\n"
        "! Nothing was released yet. The playbook release bakes, tests and launches the service."
    )


def test_a_fleet_of_one() -> None:
    assert shown("fleet_info", result(1)) == (
        "shop-prod: 1 of 1 in service; all run shop-2.0-222222222222\n"
        "  slot  image                  age  sealed  serving\n"
        "  0     shop-2.0-222222222222  1 h  yes     yes\n"
        "The service answers at http://127.0.0.1:8080"
    )


def test_a_fleet_that_needs_attention_says_what_and_why() -> None:
    data = result(
        3,
        {**OLD, "zone": "eu-central-1a"},
        {"tainted": "unsealed by ann", "zone": "eu-central-1b", "created": "1970-01-12T13:46:00Z"},
        {"state": "pending", "sealed": False, "serving": False, "problem": "no evidence on its console yet"},
        swap={"status": "open", "image_name": "shop-2.0-222222222222", "asks": "canary 1", "reason": ""},
        orphans=[{"id": "x"}],
    )
    assert shown("fleet_info", data) == (
        "shop-prod: 2 of 3 in service; slot 0 outdated, the channel has shop-2.0-222222222222\n"
        "  slot  image                  zone           age   sealed  serving  note\n"
        "  0     shop-1.0-111111111111  eu-central-1a  1 h   yes     yes      outdated: another image\n"
        "  1     shop-2.0-222222222222  eu-central-1b  40 s  yes     yes      tainted: unsealed by ann\n"
        "  2     shop-2.0-222222222222                 1 h   no      no       not sealed yet; no evidence on\n"
        "                                                                     its console yet\n"
        "The service answers at http://127.0.0.1:8080\n"
        "! A swap to shop-2.0-222222222222 is not finished. It asks for approval of canary 1. "
        "Swap again to continue it.\n"
        "! Outdated instances: the next swap replaces them.\n"
        "! Tainted, slot 1: the next swap replaces the instances.\n"
        "! 1 orphan: the playbook sweep lists them."
    )


def test_a_large_fleet_fits_on_a_screen_and_shows_what_is_unusual() -> None:
    data = result(100)
    data["instances"][97].update(serving=False, problem="no answer")
    lines = shown("fleet_info", data).splitlines()
    assert len(lines) <= 24
    assert lines[17] == "  97    shop-2.0-222222222222  1 h  yes     no       no answer"
    assert lines[18] == "  and 84 more, without notes"


def test_a_swap_says_what_it_changed() -> None:
    data = result(
        3, changed=True, timeline=[{"seconds": 94.0}], lowest_in_service=2, downtime=0.0, paused=None, left_alone=[]
    )
    headline, *_rest, last = shown("fleet", data).splitlines()
    assert headline == (
        "shop-prod: swapped to shop-2.0-222222222222 in 1 min 34 s; 3 of 3 in service, never fewer than 2, no downtime"
    )
    assert last == "The service answers at http://127.0.0.1:8080"
    assert shown("fleet", {**data, "changed": False}).startswith("shop-prod: nothing to do; 3 of 3 in service, all run")
    first = {**data, "origin_image_name": None, "lowest_in_service": 0}
    assert shown("fleet", first).startswith("shop-prod: launched with shop-2.0-222222222222 in 1 min 34 s; 3 of 3 in ")
    gone = {**data, "image": None, "image_name": None, "instances": [], "endpoint": None, "size": 0}
    assert shown("fleet", gone) == "shop-prod: removed"


def test_a_paused_swap_says_how_to_continue() -> None:
    data = result(2, OLD, changed=True, paused="canary 1 waits for approval", approval="canary 1")
    assert shown("fleet", data).splitlines()[-2:] == [
        "! Paused: canary 1 waits for approval",
        "! To approve and continue, swap with approve (of the playbook: -e immutable_approve=true).",
    ]
    assert shown("fleet", {**data, "approval": None}).endswith("! Swap again to continue.")


def test_a_failed_swap_ends_with_what_why_and_what_to_do() -> None:
    data = result(
        2,
        OLD,
        OLD,
        failed=True,
        changed=True,
        reason="slot 0: i-1 failed",
        msg="the swap of shop-prod to shop-2.0 was stopped: slot 0: i-1 failed\nThe last lines:\n  | panic",
        timeline=[{"seconds": 1.0}],
    )
    assert shown("fleet", data) == (
        "! the swap of shop-prod to shop-2.0 was stopped: slot 0: i-1 failed\n"
        "The last lines:\n"
        "  | panic\n"
        "Now 2 of 2 in service: slots 0-1 on shop-1.0-111111111111\n"
        "To go forward: fix the cause, give the service a new version, and release it.\n"
        "To stay on the old version: the playbook rollback returns the channel to it. "
        "Otherwise the next swap tries the new one again."
    )


def plan(count: int) -> dict[str, Any]:
    steps = [
        {"at": 1.0, "action": action, "slot": slot, "instance": name}
        for slot in range(count)
        for action, name in (("launched", "new"), ("volumes attached", "new"), ("removed", "old"), ("gone", "old"))
    ]
    return {
        "changed": True,
        "steps": steps,
        "duration": 94.0,
        "lowest_in_service": count - 1,
        "downtime": 0.0,
        "stops": None,
        "pauses": None,
    }


@pytest.mark.parametrize("count", [3, 100])
def test_a_plan_has_a_line_for_each_kind_of_change(count: int) -> None:
    data = result(count, *[OLD] * count, plan=plan(count), volumes=[{"slot": slot} for slot in range(count)])
    last = count - 1
    assert shown("fleet", data) == (
        "shop-prod: plan to run shop-2.0-222222222222\n"
        f"  + launch shop-2.0-222222222222: slots 0-{last}\n"
        f"  ~ move the data volumes to the new instance: slots 0-{last}\n"
        f"  - remove shop-1.0-111111111111: slots 0-{last}\n"
        f"Plan: {count} to launch, {count} to remove, volumes of {count} slots to attach. "
        f"About 1 min 34 s, at least {last} of {count} in service, no downtime."
    )


def test_a_plan_that_reimages_and_starts_stopped_instances() -> None:
    steps = [
        {"at": 1.0, "action": action, "slot": slot, "instance": "old"}
        for slot, action in ((0, "reimaged"), (1, "reimaged"), (2, "started again"), (None, "gate: before_swap"))
    ]
    assert shown("fleet", result(3, *[OLD] * 3, plan={**plan(3), "steps": steps})).splitlines()[1:] == [
        "  + start the stopped instance: slot 2",
        "  ~ reimage with shop-2.0-222222222222: slots 0-1",
        "Plan: 0 to launch, 1 to start, 2 to reimage, 0 to remove. "
        "About 1 min 34 s, at least 2 of 3 in service, no downtime.",
    ]


def test_a_plan_without_changes_and_one_that_stops() -> None:
    assert shown("fleet", result(3, plan={"changed": False})) == (
        "shop-prod: no changes. 3 slots run shop-2.0-222222222222."
    )
    assert shown("fleet", result(1, plan={"changed": False})).endswith("1 slot runs shop-2.0-222222222222.")
    stopped = {**plan(1), "stops": "slot 0 failed", "pauses": "the window is closed"}
    lines = shown("fleet", result(1, OLD, plan=stopped)).splitlines()
    assert lines[-2:] == ["! It would pause: the window is closed", "! It would stop: slot 0 failed"]
    assert "  + create the data volumes: slot 0" in lines
    steps = [{"at": None, "action": "start an instance refresh", "slot": None, "instance": None}]
    group = shown("fleet", result(1, OLD, plan={"changed": True, "steps": steps}))
    assert group == "shop-prod: plan to run shop-2.0-222222222222\n  ~ start an instance refresh"


FAILURE = {"image_name": "shop-2.0-222222222222", "at": "1970-01-12T13:41:40Z", "reason": "slot 0: i-1 failed"}


def test_a_plan_says_that_the_last_try_failed() -> None:
    data = result(3, *[OLD] * 3, plan={**plan(3), "last_failure": FAILURE})
    said = [
        "! The last swap to shop-2.0-222222222222 failed 5 min ago: slot 0: i-1 failed",
        "! The prediction does not know the cause. It assumes that the new instances become healthy.",
    ]
    assert shown("fleet", data).splitlines()[-2:] == said
    steps = [{"at": None, "action": "start an instance refresh", "slot": None, "instance": None}]
    group = {"changed": True, "steps": steps, "last_failure": FAILURE}
    assert shown("fleet", result(1, OLD, plan=group)).splitlines()[-2:] == said


UNRELEASED = "the definition says 3.0, the channel prod has 2.0: release the definition"


def test_a_definition_that_is_not_released_is_named() -> None:
    line = "! The definition says 3.0, the channel prod has 2.0: release the definition"
    for action, keys in (("fleet", {"plan": {"changed": False}}), ("fleet", {}), ("fleet_info", {})):
        assert shown(action, result(2, unreleased=UNRELEASED, **keys)).splitlines()[-1] == line


def test_status_after_a_failed_swap_says_how_to_go_on() -> None:
    failed = {"status": "failed", "image_name": "shop-2.0-222222222222", "reason": "slot 0: i-1 failed"}
    assert shown("fleet_info", result(2, OLD, OLD, swap=failed)).splitlines()[-2:] == [
        "! The last swap, to shop-2.0-222222222222, was stopped: slot 0: i-1 failed",
        "! The next swap tries it again. To go forward, release a new version. "
        "To stay, promote shop-1.0-111111111111 again: the playbook rollback returns the channel to it.",
    ]
    other = {**failed, "image_name": "shop-1.9-999999999999"}
    assert shown("fleet_info", result(2, OLD, OLD, swap=other)).endswith("the next swap replaces them.")


def test_text_from_outside_adds_no_line_and_no_escape_and_wide_characters_keep_the_columns() -> None:
    data = result(
        2, {"image_name": "日本-1.0", "problem": "\x1b[2Jgone\n! shop-prod: all is well\u202e", "serving": False}
    )
    lines = shown("fleet_info", data).splitlines()
    assert len(lines) == 5 and not any(mark in "".join(lines) for mark in ("\x1b", "\u202e"))
    assert lines[2] == "  0     日本-1.0               1 h  yes     no       gone ! shop-prod: all is well"
    assert lines[3] == "  1     shop-2.0-222222222222  1 h  yes     yes"
