# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the variables that a template declares sensitive. Packer reports only those that have a default."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .variables import HCL2_SUFFIXES, is_hcl2

# Where braces do not count: comments, strings (with escapes and ${} on one line), and heredocs.
_SKIPPED = re.compile(r'(?:#|//)[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|<<[-~]?(\w+)\n.*?\n\s*\1\b', re.DOTALL)
_VARIABLE = re.compile(r'\bvariable\s+(?:"([^"\n]+)"|([\w-]+))\s*\{')
_SENSITIVE = re.compile(r"^\s*sensitive\s*=\s*true\b|[{,;]\s*sensitive\s*=\s*true\b", re.MULTILINE)


def sensitive_variables(template: str) -> set[str]:
    """Return the names of a template's sensitive variables.

    A file that cannot be read or parsed has none. Packer itself reports such a file.
    """
    found: set[str] = set()
    for path in _files(template):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            found.update(_of_json(json.loads(text)) if path.endswith(".json") else _of_hcl2(text))
        except (OSError, ValueError):
            continue
    return found


def _files(template: str) -> list[str]:
    if not os.path.isdir(template):
        return [template]
    return [
        os.path.join(template, name)
        for name in sorted(os.listdir(template))
        if name.endswith(HCL2_SUFFIXES) and is_hcl2(name)
    ]


def _of_hcl2(text: str) -> Iterator[str]:
    for start in _VARIABLE.finditer(_without(text, keep_strings=True)):
        body = _block(_without(text, keep_strings=True), start.end())
        if _SENSITIVE.search(_without(body, keep_strings=False)):
            yield start.group(1) or start.group(2)


def _without(text: str, keep_strings: bool) -> str:
    """The text without comments, heredocs and, unless they are kept, the contents of strings."""

    def replacement(found: re.Match[str]) -> str:
        return (
            found.group(0)
            if keep_strings and found.group(0).startswith('"')
            else '""'
            if found.group(0)[0] in '"<'
            else ""
        )

    return _SKIPPED.sub(replacement, text)


def _block(text: str, start: int) -> str:
    """The block between the opening brace before ``start`` and its closing brace."""
    depth, position = 1, start
    while position < len(text) and depth:
        string = _SKIPPED.match(text, position)
        if string:
            position = string.end()
            continue
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        position += 1
    return text[start - 1 : position]


def _of_json(document: Any) -> Iterator[str]:
    if not isinstance(document, Mapping):
        return
    older = document.get("sensitive-variables")
    if isinstance(older, list):
        yield from (name for name in older if isinstance(name, str))
    blocks = document.get("variable")
    for block in blocks if isinstance(blocks, list) else [blocks]:
        for name, bodies in block.items() if isinstance(block, Mapping) else ():
            for body in bodies if isinstance(bodies, list) else [bodies]:
                if isinstance(body, Mapping) and body.get("sensitive") in (True, "true"):
                    yield name
