# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress on the terminal: one line a report, without what would control the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import termios

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core import display, terminal
from ansible_collections.immutable.infra.plugins.plugin_utils._core.action import result_for_screen
from ansible_collections.immutable.infra.plugins.plugin_utils._core.display import LiveDisplay, show_lines
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import (
    INTERVAL,
    MAX_LINES,
    LineLimit,
    WithBar,
)


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


def test_a_bar_is_shown_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns: list[int | None] = [None, 80]
    for each in columns:
        monkeypatch.setattr(display, "terminal_columns", lambda _descriptor=1, width=each: width)
        with LiveDisplay("[localhost] fleet: ", quiet=False) as report:
            for slot in (1, 2):
                report(WithBar(f"slot {slot}: in service", "[##=]", "# is new"))
    assert capsys.readouterr().err == (
        "[localhost] fleet: slot 1: in service\n[localhost] fleet: slot 2: in service\n"
        "[localhost] fleet: # is new\n"
        "[localhost] fleet: [##=] slot 1: in service\n[localhost] fleet: [##=] slot 2: in service\n"
    )


def test_the_terminal_is_that_of_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"import sys; sys.path[:] = {sys.path!r}\nfrom {terminal.__name__} import *; print(terminal_columns(2))"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    argv = [sys.executable, "-c", parent, program]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("AWX_ISOLATED_DATA_DIR", raising=False)
    controller, terminal_end = os.openpty()
    known = sys.version_info >= (3, 11)
    if known:
        termios.tcsetwinsize(terminal_end, (24, 91))

    def asked(**environment: str) -> str:
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=terminal_end, text=True, check=True, env={**os.environ, **environment}
        ).stdout.strip()

    try:
        assert asked() == ("91" if known else "40"), "a terminal without a size has the least width"
        assert asked(AWX_ISOLATED_DATA_DIR="/x") == asked(TERM="dumb") == "None"
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "None"
    finally:
        os.close(controller)
        os.close(terminal_end)


def test_lines_for_people_go_to_stdout_and_have_the_colors_of_their_signs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible.utils.color.ANSIBLE_COLOR", True)
    show_lines(["shop: plan", "  + launch", "! it\x1b[2J failed\nhere"])
    shown = capsys.readouterr()
    assert re.fullmatch(
        r"shop: plan\n\x1b\[[\d;]+m  \+ launch\x1b\[0m\n\x1b\[[\d;]+m! it failed here\x1b\[0m\n", shown.out
    )
    monkeypatch.setattr("ansible.constants.DEFAULT_STDOUT_CALLBACK", "ansible.posix.json")
    show_lines(["shop: plan"])
    assert capsys.readouterr() == ("", "shop: plan\n")
