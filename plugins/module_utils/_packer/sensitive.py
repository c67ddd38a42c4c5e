# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the variables that a template declares sensitive. Packer reports only those that have a default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .hcl_text import block, mappings, without
from .template_files import template_files

_VARIABLE = re.compile(r'\bvariable\s+(?:"([^"\n]+)"|([\w-]+))\s*\{')
_SENSITIVE = re.compile(r"^\s*sensitive\s*=\s*true\b|[{,;]\s*sensitive\s*=\s*true\b", re.MULTILINE)


def sensitive_variables(template: str) -> set[str]:
    """Return the names of a template's sensitive variables.

    A file that cannot be read or parsed has none. Packer itself reports such a file.
    """
    found: set[str] = set()
    for path in template_files(template):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            found.update(_of_json(json.loads(text)) if path.endswith(".json") else _of_hcl2(text))
        except (OSError, ValueError):
            continue
    return found


def _of_hcl2(text: str) -> Iterator[str]:
    text = without(text, keep_strings=True)
    for start in _VARIABLE.finditer(text):
        body = block(text, start.end())
        if _SENSITIVE.search(without(body, keep_strings=False)):
            yield start.group(1) or start.group(2)


def _of_json(document: Any) -> Iterator[str]:
    if not isinstance(document, Mapping):
        return
    older = document.get("sensitive-variables")
    if isinstance(older, list):
        yield from (name for name in older if isinstance(name, str))
    for part in mappings(document.get("variable")):
        for name, bodies in part.items():
            if any(body.get("sensitive") in (True, "true") for body in mappings(bodies)):
                yield name
