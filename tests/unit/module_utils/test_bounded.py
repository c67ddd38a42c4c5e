# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bounds of text, whatever it is."""

from __future__ import annotations

import json
import re
import sys

from ansible_collections.immutable.infra.plugins.module_utils._bounded import MAX_LINE, LastLines, shortened
from ansible_collections.immutable.infra.plugins.module_utils._supervised import MAX_LINE as MAX_READ
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(max_size=200), st.integers(1, 60))
def test_a_shortened_text_has_its_beginning_its_end_and_the_rest_as_a_number(text: str, keep: int) -> None:
    short = shortened(text, keep)
    if len(text) <= keep:
        assert short == text
        return
    end = keep // 3
    assert short.startswith(text[: keep - end]) and short.endswith(text[len(text) - end :])
    assert f"[... {len(text) - keep} characters left out ...]" in short
    assert len(short) <= keep + 50


@given(st.lists(st.text(max_size=MAX_LINE + 10), max_size=30), st.integers(1, 20), st.integers(1, 5000))
def test_the_last_lines_are_bounded(lines: list[str], max_lines: int, max_bytes: int) -> None:
    last = LastLines(max_lines, max_bytes)
    last.add(lines)
    kept = list(last)
    assert len(kept) <= max_lines
    assert len(json.dumps(kept)) <= max(max_bytes, 2)
    assert kept == [shortened(line) for line in lines][len(lines) - len(kept) :]


def test_lines_of_any_length_are_read_whole() -> None:
    sizes = [0, 1, 65535, 65536, 65537, 200000, 0, 5]
    program = f"import sys; sys.stdout.write('\\n'.join('x' * size for size in {sizes}))"
    with Supervised([sys.executable, "-c", program]) as child:
        assert [len(line) for line in child.lines()] == sizes


def test_a_line_beyond_all_bounds_is_replaced_as_a_whole() -> None:
    size = MAX_READ + 1
    program = f"import sys; sys.stdout.write('before\\n' + 'x' * {size} + '\\n' + 'y' * {MAX_READ} + '\\nafter')"
    with Supervised([sys.executable, "-c", program]) as child:
        before, long, longest, after = child.lines()
    assert (before, long, after) == ("before", f"[a line of {size} bytes was left out]", "after")
    assert re.fullmatch("y+", longest) and len(longest) == MAX_READ
