# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the blocks of an HCL2 text with the values that are literals. Packer alone evaluates everything else. Pure.

The tokens follow the syntax specification of HCL (https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md). An
expression is skipped as a whole, and its value is ``UNREAD``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_TEXT = 2 * 1024**2  # characters of all files of a template
_MAX_DEPTH = 50  # blocks and lists inside each other
_MAX_BROKEN = 100  # texts without an end; each costs a look at the rest of its line
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|(?:\#|//)[^\n]*|/\*.*?\*/)
    |(?P<heredoc><<[-~]?(?P<mark>\w+)\n.*?\n[ \t]*(?P=mark)\b)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?(?![\w.]))
    |(?P<name>[A-Za-z_][\w-]*)
    |(?P<line>\n)
    |(?P<open>/\*|<<[-~]?\w+\n)
    |(?P<broken>")
    |(?P<mark2>.)""",
    re.DOTALL | re.VERBOSE,
)
_OPEN, _CLOSE = "{[(", "}])"
_WORDS = {"true": True, "false": False, "null": None}


class Unread:
    """A value that is no literal.

    Attributes:
        variable: the name of the variable that it is, or "".
    """

    def __init__(self, variable: str = "") -> None:
        self.variable = variable


UNREAD = Unread()


@dataclass
class Block:
    """A block, or a whole file.

    Attributes:
        values: by name: plain data (JSON types), or an ``Unread``.
    """

    kind: str = ""
    labels: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def of(self, kind: str) -> list[Block]:
        return [block for block in self.blocks if block.kind == kind]


class _Token(NamedTuple):
    kind: str
    text: str


def read_hcl(text: str) -> Block:
    """Return the blocks and literal values of a text. Raises ValueError if it cannot be read as HCL."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has more than {MAX_TEXT} characters")
    reader = _Reader([_named(token) for token in _tokens(text) if token.kind != "space"])
    found = Block()
    reader.body(found, 0)
    if reader.position < len(reader.tokens):
        raise ValueError("it has more closing braces than opening ones")
    return found


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens of a text. Raises ValueError where searching for ends again and again would take too long."""
    broken = 0
    for found in _TOKEN.finditer(text):
        token = _Token(str(found.lastgroup), found.group())
        if token.kind == "open":
            raise ValueError(f"what begins with {token.text.strip()[:40]} has no end")
        broken += token.kind == "broken"
        if broken > _MAX_BROKEN:
            raise ValueError(f"more than {_MAX_BROKEN} texts in quotes do not end in their line")
        yield token


def _named(token: _Token) -> _Token:
    return _Token("heredoc", token.text) if token.text.startswith("<<") else token


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.position = 0

    def body(self, block: Block, depth: int) -> None:
        """Read until the closing brace, which is left, or to the end."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"blocks are inside each other more than {_MAX_DEPTH} times")
        while (token := self._peek()) and token.text != "}":
            self.position += 1
            if token.kind != "name":
                continue
            if self._takes("="):
                block.values[token.text] = self._value(depth)
                continue
            labels = []
            while (label := self._peek()) and label.kind in ("text", "name"):
                labels.append(_text(label) if label.kind == "text" else label.text)
                self.position += 1
            if self._takes("{"):
                inner = Block(token.text, [label if isinstance(label, str) else "" for label in labels])
                self.body(inner, depth + 1)
                if not self._takes("}"):
                    raise ValueError(f"the block {token.text} is not closed")
                block.blocks.append(inner)

    def _peek(self) -> _Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _takes(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.text != text or token.kind in ("text", "heredoc"):
            return False
        self.position += 1
        return True

    def _value(self, depth: int) -> Any:
        """A literal that is the whole expression, or what stands for an expression, which is skipped."""
        start = self.position
        value = self._literal(depth)
        token = self._peek()
        if not isinstance(value, Unread) and (token is None or token.kind == "line" or token.text in ("}", "]", ",")):
            return value
        self.position = start
        return self._skipped()

    def _literal(self, depth: int) -> Any:
        token = self._peek()
        if token is None or depth > _MAX_DEPTH:
            return UNREAD
        self.position += 1
        if token.kind == "text":
            return _text(token)
        if token.kind == "number":
            return json.loads(token.text)
        if token.kind == "name" and token.text in _WORDS:
            return _WORDS[token.text]
        if token.text == "[":
            return self._list(depth + 1)
        if token.text == "{":
            return self._mapping(depth + 1)
        return UNREAD

    def _list(self, depth: int) -> Any:
        found: list[Any] = []
        while True:
            self._skip_lines()
            if self._takes("]"):
                return found
            if (token := self._peek()) is None or token.text in ("}", ")"):
                return UNREAD
            found.append(self._value(depth))
            self._skip_lines()
            self._takes(",")

    def _mapping(self, depth: int) -> Any:
        found: dict[str, Any] = {}
        while True:
            self._skip_lines()
            if self._takes("}"):
                return found
            token = self._peek()
            if token is None or token.kind not in ("name", "text"):
                return UNREAD
            self.position += 1
            key = _text(token) if token.kind == "text" else token.text
            if not (self._takes("=") or self._takes(":")) or not isinstance(key, str):
                return UNREAD
            found[key] = self._value(depth)
            self._takes(",")

    def _skip_lines(self) -> None:
        while (token := self._peek()) and token.kind == "line":
            self.position += 1

    def _skipped(self) -> Unread:
        """Skip an expression: to the end of its line, of its list or of its block."""
        depth, words = 0, ""
        while token := self._peek():
            quoted = token.kind in ("text", "heredoc")
            if depth == 0 and (token.kind == "line" or (not quoted and token.text in ("}", "]", ")", ","))):
                break
            depth += 0 if quoted else (token.text in _OPEN) - (token.text in _CLOSE)
            words += token.text
            self.position += 1
        found = re.fullmatch(r'var\.([\w-]+)|"\$\{var\.([\w-]+)\}"', words)
        return Unread(found.group(1) or found.group(2)) if found else UNREAD


def _text(token: _Token) -> Any:
    """The text of a literal, or ``UNREAD`` if it is a template. A path may start at the template's folder."""
    text = token.text.replace('"${path.root}/', '"./', 1)
    if re.search(r"[$%]\{", text):
        return UNREAD
    try:
        return json.loads(text)
    except ValueError:  # an escape that JSON lacks
        return UNREAD
