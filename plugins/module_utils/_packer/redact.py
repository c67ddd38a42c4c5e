# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep secret values out of everything that is shown, returned or logged."""

from __future__ import annotations

import base64
import dataclasses
import json
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .events import Event

MASK = "********"
SHORTEST = 3  # a shorter value would mask most of the text, and hide nothing
_PROTOCOL = ("level", "kind", "key", "version")  # words of Packer's own, which a secret may happen to equal
AnEvent = TypeVar("AnEvent", bound=Event)


class Redactor:
    """Replaces secret values, also where they were quoted, escaped or encoded on the way.

    Args:
        values: the secrets. Those shorter than ``SHORTEST`` characters are let pass.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        self._forms = sorted(forms, key=len, reverse=True)  # the longest first, since one may hold another

    def text(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def event(self, event: AnEvent) -> AnEvent:
        """The event with every text in it redacted."""
        if not self._forms:
            return event
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if field.name in _PROTOCOL:
                continue
            if isinstance(value, str):
                changes[field.name] = self.text(value)
            elif isinstance(value, tuple):
                changes[field.name] = tuple(self.text(part) for part in value)
        return dataclasses.replace(event, **changes)


def _forms(value: str) -> set[str]:
    # Tools print a secret of several lines one line at a time; anything may encode it first.
    pieces = {value, value.strip(), *(line.strip() for line in value.splitlines() if len(line.strip()) > SHORTEST)}
    encodings: tuple[Callable[[str], Iterable[str]], ...] = (_escaped, _urls, _base64)
    return {
        form for piece in pieces if len(piece) >= SHORTEST for encode in encodings for form in (piece, *encode(piece))
    }


def _escaped(value: str) -> Iterable[str]:
    for ascii_only in (True, False):
        inner = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield inner
        yield inner.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go writes JSON
    yield value.replace(",", "%!(PACKER_COMMA)")
    yield value.replace("'", "'\\''")  # as shells quote
    yield value.replace("'", "'\"'\"'")
    yield value.replace("\\", "\\\\").replace('"', '\\"')


def _urls(value: str) -> Iterable[str]:
    yield urllib.parse.quote(value, safe="")
    yield urllib.parse.quote(value)
    yield urllib.parse.quote_plus(value)


def _base64(value: str) -> Iterable[str]:
    """As a whole, and the part that stays the same when the value is a piece of a longer text, for each of three alignments."""
    data = value.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode()
        for shift in range(3):
            inner = encode(b"\0" * shift + data).decode().rstrip("=")
            start, end = (0, 2, 3)[shift], len(inner) - (1 if (shift + len(data)) % 3 else 0)
            if end - start >= 6:  # shorter ones could be anything
                yield inner[start:end]
