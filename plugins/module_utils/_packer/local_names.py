# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names that the builds of an HCL2 template give to the sources that they use.

For ``source "null.a" { name = "b" }``, ``only`` takes ``null.b``, but Packers before 1.7 report ``null.a``. The name is
a literal there, because these Packers evaluate nothing in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .hcl_text import block, mappings, without
from .template_files import template_files
from .variables import is_hcl2

_BUILD = re.compile(r"^[ \t]*build\s*\{", re.MULTILINE)
_SOURCE = re.compile(r'\bsource\s+"([^"\\\n]+)"\s*\{')
_NAME = re.compile(r'(?:^|[\n;{])[ \t]*name\s*=\s*("(?:[^"\\\n]|\\.)*")')


class UsedSource(NamedTuple):
    """A block ``source`` of a build.

    Attributes:
        source: as Packer reports it, such as ``null.a``.
        name: the name that the build gives to it, or '' for none.
    """

    source: str
    name: str

    @property
    def build(self) -> str:
        """The name of its build, without that of the block ``build``."""
        return f"{self.source.partition('.')[0]}.{self.name}" if self.name else self.source


def used_sources(template: str) -> list[list[UsedSource]]:
    """Return the source blocks of each block ``build`` of a template, in Packer's order.

    A file that cannot be read or parsed has none. Packer itself reports such a file.
    """
    found: list[list[UsedSource]] = []
    for path in template_files(template) if is_hcl2(template) else ():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            found.extend(_of_json(json.loads(text)) if path.endswith(".json") else _of_hcl2(text))
        except (OSError, ValueError, RecursionError):
            continue
    return found


def _of_hcl2(text: str) -> Iterator[list[UsedSource]]:
    text = without(text, keep_strings=True)
    for build in _BUILD.finditer(text):
        body = block(text, build.end())
        yield [
            UsedSource(_source(source.group(1)), _name(block(body, source.end()))) for source in _SOURCE.finditer(body)
        ]


def _name(body: str) -> str:
    """The name in a block, but not in the blocks within it."""
    own = body[:1]
    position = 1
    for inner in re.finditer(r'"(?:[^"\\\n]|\\.)*"|\{', body):
        if inner.start() < position or inner.group(0) != "{" or not inner.start():
            continue
        own += body[position : inner.start()]
        position = inner.start() + len(block(body, inner.end()))
    found = _NAME.search(own + body[position:])
    return str(json.loads(found.group(1))) if found else ""


def _source(reference: str) -> str:
    """``null.a`` for ``source.null.a``, which means the same."""
    return ".".join(reference.split(".")[-2:])


def _of_json(document: Any) -> Iterator[list[UsedSource]]:
    for build in mappings(document.get("build")) if isinstance(document, Mapping) else ():
        yield [
            UsedSource(_source(reference), body["name"] if isinstance(body.get("name"), str) else "")
            for blocks in mappings(build.get("source"))
            for reference, bodies in blocks.items()
            for body in mappings(bodies)
        ]
