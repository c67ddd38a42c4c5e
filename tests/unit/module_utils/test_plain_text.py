# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No text for people controls the terminal that shows it."""

from __future__ import annotations

import unicodedata

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._plain_text import plain_data, plain_line, plain_text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07a", "a"),
        ("\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x1b\\a", "a"),
        ("\x1bP1$r\x1b\\a", "a"),
        ("\x1b(Ba\x1b7b\x1bc", "ab"),
        ("never ended \x1b]0;a", "never ended 0;a"),
        ("50%\r100%\r\ndone\r", "50%\n100%\ndone\n"),
        ("a\tb\x00\x08\x7f\x85", "a\tb"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("Grüße, 世界 🚀", "Grüße, 世界 🚀"),
    ],
)
def test_sequences_and_controls_are_removed(text: str, shown: str) -> None:
    assert plain_text(text) == shown


ESCAPES = st.text("\x1b\x9b\x9d\x90[]();?0123mHJ\x07\\P^_a\n\r\t", max_size=40)


@given(st.text(max_size=40) | ESCAPES)
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    shown = plain_text(text)
    assert not [each for each in shown if unicodedata.category(each) == "Cc" and each not in "\n\t"]
    assert plain_text(shown) == shown
    assert len(plain_line(text).splitlines()) <= 1


@pytest.mark.parametrize("start", ["\x9d", "\x90", "\x1b]", "\x1bP", "\x9b0", "\x1b[;", "\r"])
def test_many_beginnings_of_sequences_are_read_once(start: str) -> None:
    # With a second look at the rest for each beginning, this does not end.
    assert set(plain_text(start * 2_000_000)) <= set("]P0[;\n")


def test_data_keeps_its_shape() -> None:
    data = {"lines": ["\x1b[31ma"], "size": 1, "ok": True, "none": None, "inner": {"b": "c\x07"}}
    assert plain_data(data) == {"lines": ["a"], "size": 1, "ok": True, "none": None, "inner": {"b": "c"}}
