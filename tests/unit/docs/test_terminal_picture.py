# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A recorded session becomes one small drawing: escaped, without names of a machine, and still for who prefers that."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.immutable.infra.tests.support.terminal_picture import (
    LONGEST_PAUSE,
    cast_of,
    lines_of,
    picture,
    without_names,
)


def cast(*texts: str, pause: float = 1.0) -> str:
    return cast_of(
        [(number * pause, text) for number, text in enumerate(texts)], width=40, height=24, title="a <session>"
    )


def shown(text: str) -> list[str]:
    return ["".join(char for char, _kind in line.cells) for line in lines_of(text)[0]]


def test_a_line_that_is_written_again_has_its_last_text() -> None:
    assert shown(cast("step 1 of 20\rstep 2\x1b[K\r\n", "done\n")) == ["step 2", "done", ""]


def test_long_lines_are_wrapped_and_titles_of_the_terminal_are_left_out() -> None:
    assert shown(cast("\x1b]0;a title\x07" + "x" * 50)) == ["x" * 40, "x" * 10]


def test_the_drawing_is_xml_with_the_text_of_the_session() -> None:
    drawn = picture(cast("<b>&\x1b[1;31mred\x1b[0m\r\n"))
    root = ElementTree.fromstring(drawn)  # noqa: S314  made above
    assert "".join(root.itertext()).endswith("<b>&red") and 'class="r x"' in drawn
    assert "prefers-reduced-motion" in drawn and "prefers-color-scheme:dark" in drawn


def test_a_thousand_lines_fit_and_long_pauses_are_cut() -> None:
    assert len(picture(cast(*(f"line {number}\n" for number in range(1000)), pause=60.0))) < 150_000
    assert f"animation:s {LONGEST_PAUSE + 6.0:.1f}s" in picture(cast("a\n", "b\n", pause=600.0))


def test_names_of_the_machine_are_replaced_as_whole_words() -> None:
    names = {"/home/ann/infra": "/srv/infra", "/home/ann": "/home/user", "vm": "controller"}
    text = without_names("/home/ann/infra/x /home/ann/y vm quickstart-vm vmdk", names)
    assert text == "/srv/infra/x /home/user/y controller quickstart-vm vmdk"
