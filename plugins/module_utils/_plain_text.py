# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text for a screen or a log, without what would control the terminal that shows it.

Guests, Packer, clouds and others who write tags choose parts of the text that a user reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# No part of a sequence can begin another one, so the time for any text is linear.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colors, movements of the cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x80-\x9f\n]*(?:\x07|\x1b\\|\x9c)"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x80-\x9f\n]*(?:\x1b\\|\x9c)"  # other strings
    r"|\x1b[ -/]*[0-~]"
)
# The second line has the marks that change the direction in which a terminal shows the text after them.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_LINE_ENDS = re.compile(r"\r+\n?")


def plain_text(text: str) -> str:
    """Return the text without terminal escapes and control characters. Line ends become newlines, tabs stay."""
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", _SEQUENCES.sub("", text)))


def plain_line(text: str) -> str:
    """Return ``plain_text`` as one line, so that nobody can add a line that looks like one of another author."""
    return " ".join(plain_text(text).splitlines())


def plain_data(data: Any) -> Any:
    """Return plain data (JSON types) with ``plain_text`` for each text in it that is not a key."""
    return map_texts(data, plain_text)


def map_texts(data: Any, change: Callable[[str], Any]) -> Any:
    """Return plain data (JSON types) with another value for each text in it that is not a key."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Mapping):
        return {key: map_texts(value, change) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [map_texts(value, change) for value in data]
    return data
