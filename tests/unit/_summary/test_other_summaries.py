# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people see of bakes, verifications, channels, leftovers and attested hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.action import with_host_summary
from ansible_collections.immutable.infra.plugins.plugin_utils._summary.attest import attest_lines
from ansible_collections.immutable.infra.plugins.plugin_utils._summary.summarize import with_summary
from ansible_collections.immutable.infra.plugins.plugin_utils._summary.text import (
    REST,
    age,
    duration,
    moment,
    numbers,
    table,
    width_of,
    wrapped,
)

IMAGE = {"name": "shop-2.0-222222222222", "build": "container-x86_64", "seconds": 95.2}


def shown(action: str, **result: Any) -> list[str]:
    lines: list[str] = with_summary(action, result, now=1_000_000.0, width=80)["summary"]
    return lines


def test_a_bake() -> None:
    changes = [
        {"path": "version", "before": '"1.0"', "after": '"2.0"'},
        {"path": "tree:new", "before": "absent", "after": "0123456789ab"},
        {"path": "tree:old", "before": "0123456789ab", "after": "absent"},
    ]
    due: dict[str, Any] = {"changed": True, "due": True, "why": "3 inputs differ", "differences": changes}
    lines = ['  ~ version: "1.0" -> "2.0"', "  + tree:new: 0123456789ab", "  - tree:old"]
    assert shown("image", **due, images={"local": IMAGE}) == [
        "Baked shop-2.0-222222222222 (container-x86_64) in 1 min 35 s for local",
        *lines,
    ]
    stages = [{"name": name, "seconds": seconds} for name, seconds in (("a", 1.5), ("b", 70.0), ("c", 3.0), ("d", 9.0))]
    timed = shown("image", **due, images={"local": {**IMAGE, "provenance": {"stages": stages}}})
    assert timed[-1] == "The slowest stages: b (1 min 10 s), d (9 s), c (3 s)"
    assert shown("image", **due, images={"local": None}) == ["A bake is due for local:", *lines]
    kept = {**due, "differences": changes[1:]}
    hint = "  The version is the same as before. A new one in the definition tells the images apart."
    assert (
        shown("image", **kept, images={"local": None})[-1]
        == hint
        == shown("image", **kept, images={"local": IMAGE})[-1]
    )
    never = {**due, "why": "it was never baked", "differences": []}
    assert shown("image", **never, images={"local": None}) == ["A bake is due for local: it was never baked"]
    same = {"changed": False, "due": False, "why": "no input differs", "differences": []}
    assert shown("image", **same, images={"a": IMAGE, "b": IMAGE}) == [
        "shop-2.0-222222222222 (container-x86_64) for a, b: no bake is due, no input differs"
    ]
    many = shown("image", **{**due, "differences": changes * 20}, images={"local": None})
    assert len(many) <= 24 and many[-1] == "    and 44 more"


def test_a_bake_that_failed_ends_with_the_console_and_what_to_do() -> None:
    assert shown("image", failed=True, msg="task 'Install' failed (complete log: /x)", console=["a", "b\x1b[2J"]) == [
        "! task 'Install' failed (complete log: /x)",
        "  | a",
        "  | b",
        "No image was recorded. Fix the cause and bake again.",
    ]


def test_a_verification() -> None:
    result: dict[str, Any] = {
        "changed": True,
        "due": True,
        "why": "it was never verified",
        "copied": [],
        "image": IMAGE,
    }
    assert shown("image_verify", **result, checks=["boot", "seal"]) == [
        "shop-2.0-222222222222 passed 2 checks: boot, seal"
    ]
    assert shown("image_verify", **result) == [
        "shop-2.0-222222222222 would be booted and tested, because it was never verified"
    ]
    failed = shown("image_verify", failed=True, msg="no seal", consoles={"1": [str(line) for line in range(20)]})
    assert failed[:3] == ["! no seal", "The last lines of the console of test host 1:", "  | 10"]
    assert failed[-1].startswith("The image stays unverified")


def test_a_channel() -> None:
    history = [{"image": "sha256:1", "name": "shop-1.0"}, {"image": "sha256:2", "name": "shop-2.0"}]
    channel = {"channel": "prod", "image": "sha256:2", "name": "shop-2.0", "history": history}
    result: dict[str, Any] = {"channel": channel, "image": IMAGE, "published": []}
    assert shown("channel", changed=True, **result) == ["The channel prod now has shop-2.0, before shop-1.0"]
    assert shown("channel", changed=False, **result) == ["The channel prod has shop-2.0"]
    revoked = {**IMAGE, "revoked": {"reason": "it loses orders"}}
    assert shown("channel", changed=True, image=revoked) == ["shop-2.0-222222222222 is revoked: it loses orders"]


def test_check_mode_does_not_say_that_anything_was_done() -> None:
    entry = {"image": "sha256:2", "name": "shop-2.0"}
    promoted = {"changed": True, "channel": {"channel": "prod", **entry}, "image": IMAGE, "published": []}
    lines = with_summary("channel", promoted, now=0.0, width=80, check=True)["summary"]
    assert lines == ["The channel prod now has shop-2.0 (check mode: not done)"]
    same = with_summary("channel", {**promoted, "changed": False}, now=0.0, width=80, check=True)["summary"]
    assert same == ["The channel prod has shop-2.0"]


def test_orphans() -> None:
    assert shown("sweep", orphans=[], removed=[]) == ["No orphans"]
    found = [
        {"kind": "instance", "id": "i-1", "fleet": "shop-prod", "why": "no fleet", "age": 7200.0},
        {"kind": "volume", "id": "v-1", "fleet": "shop-prod", "why": "beyond the size", "age": None},
    ]
    assert shown("sweep", orphans=found, removed=[found[0]]) == [
        "2 orphans, 1 removed",
        "     kind      id   of         age  why",
        "  -  instance  i-1  shop-prod  2 h  no fleet",
        "     volume    v-1  shop-prod       beyond the size",
        "A data volume is removed only if you name it in volumes.",
    ]


def test_pruned_images() -> None:
    image = {"name": "shop-1.0", "build": "qemu-x86_64", "created": "1970-01-01T00:00:00+00:00", "why": ["old"]}
    kept = [{**image, "name": f"shop-2.{number}", "why": ["new", "in use"]} for number in range(40)]
    lines = shown("image_prune", kept=kept, removed=[image], copies=["a"])
    assert lines[:4] == [
        "1 image removed, 40 kept",
        "     image      build        age   why",
        "  -  shop-1.0   qemu-x86_64  11 d  old",
        "     shop-2.0   qemu-x86_64  11 d  new; in use",
    ]
    assert lines[-2:] == ["  and 25 more", "1 of the engine's copies removed"]


def test_an_attested_host_and_one_that_differs() -> None:
    equal = {"attested": True, "checked": 15271, "seconds": 2.14, "not_compared": [{}], "count": 0}
    assert attest_lines(equal, "web-0", 80) == ["web-0: equals its image (15271 entries in 2.14 s, 1 not compared)"]
    changed = {"kind": "mode", "path": "/usr/bin/notes", "expected": "0755", "found": "4755"}
    lines = attest_lines({**equal, "attested": False, "count": 7, "differences": [changed] * 7}, "web-0", 80)
    assert lines[:2] == [
        "! web-0: 7 differences from its image, 1 not compared",
        "!   mode /usr/bin/notes: 0755 -> 4755",
    ]
    assert lines[-1] == "!   and 2 more"
    assert attest_lines({"msg": "only root can"}, "web-0", 80) == ["! web-0: could not be compared: only root can"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (9.53, "9.53 s"),
        (12.4, "12 s"),
        (95, "1 min 35 s"),
        (120, "2 min"),
        (7500, "2 h 5 min"),
        (9e5, "10 d 10 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_text_is_wrapped_and_says_where_the_rest_is() -> None:
    assert wrapped("  ~ a: 1 -> 2", 80) == ["  ~ a: 1 -> 2"]
    assert wrapped("  ~ name: one two three", 16) == ["  ~ name: one", "    two three"]
    assert wrapped("!   mode /usr/bin/notes: 0755 -> 4755", 24) == ["!   mode /usr/bin/notes:", "!     0755 -> 4755"]
    long = wrapped("! " + "word " * 60, 40)
    assert len(long) == 4 and max(map(width_of, long)) <= 40 and long[-1].endswith(REST)


def test_a_table_shows_whole_values_where_the_width_allows_it() -> None:
    name = "a-service-with-a-name-that-is-longer-than-usual-1.0.0-111111111111"
    rows = [("slot", "image", "note"), ("0", name, "")]
    assert table(rows, 100) == ["  slot  image", f"  0     {name}"]
    rows = [("slot", "image", "note"), ("0", name, "it was not healthy within 5 s"), ("1", "short", "")]
    wide = table(rows, 120)
    assert wide[1] == f"  0     {name}  it was not healthy within 5 s" and len(wide) == 3
    lines = table(rows, 100)
    assert lines[1:] == [
        f"  0     {name}  it was not healthy",
        " " * len(f"  0     {name}  ") + "within 5 s",
        "  1     short",
    ]
    narrow = table(rows, 80)
    assert "..." in narrow[1] and narrow[-1] == f"  {REST}" and max(map(width_of, narrow)) <= 80


def test_a_report_names_each_reason_on_a_line_of_its_own() -> None:
    each = {"fleet": "shop-prod", "what": "swap to shop-2.0", "why": "the last try failed; no instance (slot 0)"}
    due = [each, {"fleet": "", "what": "bake", "why": ""}]
    assert shown("report", changed=True, dest="/x.html", size=59000, due=due) == [
        "/x.html written (59 kB)",
        "! shop-prod: swap to shop-2.0 is due:",
        "    the last try failed",
        "    no instance (slot 0)",
        "! bake is due",
        "The playbook release bakes, verifies, promotes and swaps what is due.",
    ]
    [_written, *swept] = shown(
        "report", changed=True, dest="/x", size=1, due=[{"fleet": "", "what": "sweep", "why": ""}]
    )
    assert swept == ["! sweep is due"]


def test_numbers_ages_and_widths() -> None:
    assert numbers([3, 0, 1, 5]) == "0-1, 3, 5"
    times = ("2026-01-30T10:00:59+01:00", "2026-01-30T09:00:00.500Z", "2026-01-30T09:00:00")
    assert {moment(text) for text in times} == {"2026-01-30 09:00 UTC"}
    assert [moment(text) for text in ("", "nonsense", "0001-01-01T00:00:00+14:00")] == [
        "",
        "nonsense",
        "0001-01-01T00:00:00+14:00",
    ]
    assert [age(created, 1e6) for created in (None, "nonsense", "1970-01-13T00:00:00Z")] == ["", "", "0 s"]
    assert [width_of(text) for text in ("ab", "日本", "e\u0301")] == [2, 4, 1]


def test_a_document_of_an_unexpected_form_does_not_fail_a_task_that_has_ended() -> None:
    lines = shown("channel", changed=True, channel={"channel": "prod", "history": [7]}, image=IMAGE, published=[])
    assert len(lines) == 1 and lines[0].startswith("! The result has an unexpected form")


def test_a_number_without_a_bound_does_not_fail_a_task_that_has_ended() -> None:
    timeline = [{"seconds": float("inf")}]
    result = {"fleet": "shop-prod", "changed": True, "image": "a", "image_name": "a", "instances": [], "size": 0}
    assert "unexpected form" in with_summary("fleet", {**result, "timeline": timeline}, now=0.0, width=80)["summary"][0]


def test_a_host_that_returns_something_else_gets_a_summary_that_says_so() -> None:
    for odd in ({"attested": True}, {"attested": False, "count": 1, "differences": {"a": 1}}):
        assert "unexpected form" in with_host_summary(odd, "web-1")["summary"][0]


def test_a_module_without_a_summary_keeps_its_result() -> None:
    assert with_summary("channel_info", {"changed": False}, now=0.0, width=80) == {"changed": False}
