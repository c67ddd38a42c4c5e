# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress on the terminal: one line a report, without what would control the terminal."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.display import LiveDisplay


def test_a_report_is_one_line_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay("[localhost] fleet: ", quiet=False) as report:
        report("  a guest says \x1b[2J\x1b]0;owned\x07hello\n[localhost] fleet: all is well\r")
    assert capsys.readouterr().err == "[localhost] fleet:   a guest says hello [localhost] fleet: all is well\n"
