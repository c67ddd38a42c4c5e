# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress on the terminal: one line a report, without what would control the terminal."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.action import result_for_screen
from ansible_collections.immutable.infra.plugins.plugin_utils._core.display import LiveDisplay
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import INTERVAL, MAX_LINES, LineLimit


def test_a_report_is_one_line_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay("[localhost] fleet: ", quiet=False) as report:
        report("  a guest says \x1b[2J\x1b]0;owned\x07hello\n[localhost] fleet: all is well\r")
    assert capsys.readouterr().err == "[localhost] fleet:   a guest says hello [localhost] fleet: all is well\n"


def test_a_long_report_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay("[localhost] fleet: ", quiet=False) as report:
        report("x" * 3_000_000)
    assert "characters left out" in capsys.readouterr().err[:1500]


def test_many_reports_become_a_sample_that_says_how_many_are_missing() -> None:
    now = 0.0
    limit = LineLimit(lambda: now)
    shown = []
    for number in range(MAX_LINES + 1000):
        now += 0.1
        shown.append(limit.next(f"task {number}"))
    lines = [line for line in shown if line]
    assert lines[:MAX_LINES] == [f"task {number}" for number in range(MAX_LINES)]
    assert 0 < len(lines) - MAX_LINES <= 1000 * 0.1 / INTERVAL + 1
    last = max(number for number, line in enumerate(shown) if line)
    left_out = sum(int(line[1:].split()[0]) for line in lines[MAX_LINES:])
    assert left_out + len(lines) == last + 1  # each line is shown or counted


def test_what_ansible_prints_as_it_is_holds_no_escapes() -> None:
    result = {"changed": True, "diff": [{"before": "a\x1b[2J", "after": "b"}], "warnings": ["c\x07"], "name": "d\x07"}
    assert result_for_screen(result) == {
        "changed": True,
        "diff": [{"before": "a", "after": "b"}],
        "warnings": ["c"],
        "name": "d\x07",
    }
