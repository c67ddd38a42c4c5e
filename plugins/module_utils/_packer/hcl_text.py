# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the blocks of an HCL2 text, without a parser of the language. Packer itself reports what is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Where braces do not count: comments, strings (with escapes and ${} on one line), and heredocs.
_SKIPPED = re.compile(r'(?:#|//)[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|<<[-~]?(\w+)\n.*?\n\s*\1\b', re.DOTALL)


def without(text: str, keep_strings: bool) -> str:
    """Return the text without comments, heredocs and, unless they are kept, the contents of strings."""

    def replacement(found: re.Match[str]) -> str:
        return (
            found.group(0)
            if keep_strings and found.group(0).startswith('"')
            else '""'
            if found.group(0)[0] in '"<'
            else ""
        )

    return _SKIPPED.sub(replacement, text)


def block(text: str, start: int) -> str:
    """Return the block between the opening brace before ``start`` and its closing brace, with both."""
    depth, position = 1, start
    while position < len(text) and depth:
        string = _SKIPPED.match(text, position)
        if string:
            position = string.end()
            continue
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        position += 1
    return text[start - 1 : position]


def mappings(part: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a part of a JSON text, where one block or a list of blocks may stand."""
    return [item for item in (part if isinstance(part, list) else [part]) if isinstance(item, Mapping)]
