# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML for people, written by PyYAML, and comments in which no text from outside can begin a line of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ...module_utils._bounded import shortened
from ...module_utils._plain_text import plain_line

TEMPLATE_MARKS = ("{{", "{%", "{#")  # what begins a part of a Jinja2 template
MAX_OUTSIDE = 200  # characters of one text from outside in a comment
_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z/]([A-Za-z0-9_./ -]*[A-Za-z0-9_./-])?|[1-9][0-9]*[MGT]")
# What some version of YAML reads as something other than text.
_NOT_TEXT = re.compile(r"(?:y|n|yes|no|on|off|true|false|null)", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, repeats values instead of using aliases, and quotes whatever is not plain."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  of PyYAML
        return super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Double quotes escape everything that is not printable ASCII, so a text is always one line."""
    plain = _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def yaml_of(data: Any, *, flow: bool) -> str:
    """Return plain data (JSON types) as YAML.

    Args:
        flow: whether mappings and lists without others inside them take one line.
    """
    text = yaml.dump(
        json.loads(json.dumps(data)),  # the texts of Ansible are of other types
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None if flow else False,
        width=10**6,
        allow_unicode=False,
    )
    return str(text)


def outside(text: Any) -> str:
    """Return a text from outside for a sentence: one line, bounded, without marks of templates."""
    line = plain_line(text if isinstance(text, str) else json.dumps(text, default=str))
    line = "".join(char if char.isprintable() else "?" for char in line)
    for mark in TEMPLATE_MARKS:
        line = line.replace(mark, mark[0] + " " + mark[1])
    return shortened(line, MAX_OUTSIDE)


def has_template(data: Any) -> bool:
    """Whether Ansible would evaluate a text or key in the data as a template."""
    if isinstance(data, str):
        return any(mark in data for mark in TEMPLATE_MARKS)
    if isinstance(data, Mapping):
        return any(has_template(part) for pair in data.items() for part in pair)
    return isinstance(data, (list, tuple)) and any(has_template(part) for part in data)


def comment(text: str, first: str = "# ", then: str = "# ") -> str:
    """Return a sentence as lines of a comment.

    Args:
        first: what the first line begins with.
        then: what all others begin with.
    """
    lines, line = [], first.rstrip(" ") if not text else first
    start = len(line)
    for word in plain_line(text).split():
        if len(line) > start and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line, start = then, len(then)
        line += (" " if len(line) > start else "") + word
    return "\n".join([*lines, line]) + "\n"


def comments(texts: Iterable[str]) -> str:
    """Return each text as an item of a list in a comment."""
    return "".join(comment(text, "# - ", "#   ") for text in texts)
