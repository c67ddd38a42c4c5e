# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes secret values from text that is shown, returned or logged.

Data is not changed, such as the paths of artifacts, the names of builds and versions: a secret may equal a word of it,
and what uses the data would fail.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .._plain_text import map_texts, plain_text
from .._secret_forms import ESCAPES, secret_forms
from .events import Event

MASK = "********"
MIN_LENGTH = 3  # characters; masking shorter values would hide most of the text
MIN_LINE = 6  # characters; shorter lines of a secret of several lines are words such as "user:"
_TEXTS = ("text", "default")  # the fields of events that are for people
AnyEvent = TypeVar("AnyEvent", bound=Event)


class Redactor:
    """Replaces secret values, also where they are quoted, escaped or encoded.

    Args:
        values: the secrets. Those with fewer than ``MIN_LENGTH`` characters are ignored.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms = _indexed({form for value in values for form in _forms(value)})

    def text(self, text: str) -> str:
        """Return the text with every secret replaced by ``MASK``, and without what controls a terminal.

        Escapes go first, because they could divide a secret.
        """
        text = plain_text(text)
        if not self._forms:
            return text
        shown, end = [], 0
        for start, stop in _merged(_places(self._forms, text)):
            shown += [text[end:start], MASK]
            end = stop
        return "".join([*shown, text[end:]])

    def data(self, data: Any) -> Any:
        """Return plain data (JSON types) with each text in it redacted that is not a key: only to show it."""
        return map_texts(data, self.text)

    def event(self, event: AnyEvent) -> AnyEvent:
        """Return the event with its text redacted. Its data stays as it is."""
        changes: dict[str, Any] = {
            field.name: self.text(getattr(event, field.name))
            for field in dataclasses.fields(event)
            if field.name in _TEXTS
        }
        return dataclasses.replace(event, **changes)


def _forms(value: str) -> Iterator[str]:
    """Every form of a secret in a text. Tools print a secret of several lines one line at a time, and may encode it."""
    unquoted = ESCAPES["a shell without quotes"](value)
    texts = (value, *(ESCAPES["Packer's line end"](text) for text in (value, unquoted)))
    lines = {line.strip() for text in texts for line in text.splitlines()}
    pieces = {value, value.strip(), *(line for line in lines if len(line) >= MIN_LINE)}
    for piece in pieces:
        if len(piece) >= MIN_LENGTH:
            for data in secret_forms(piece.encode("utf-8", "surrogatepass"), nested=True):
                # As Packer's output is decoded, and then as ``text`` cleans it.
                form = plain_text(data.decode("utf-8", "replace"))
                if len(form) >= MIN_LENGTH:
                    yield form


def _indexed(forms: Iterable[str]) -> dict[str, list[str]]:
    """The forms by their first characters, longest first.

    The time to search a text hardly depends on the number of forms, and unlike a regular expression of thousands of
    them the index is ready at once.
    """
    index: dict[str, list[str]] = {}
    for form in sorted(forms, key=len, reverse=True):
        index.setdefault(form[:MIN_LENGTH], []).append(form)
    return index


def _places(forms: Mapping[str, Sequence[str]], text: str) -> Iterator[tuple[int, int]]:
    """Where the longest forms are, by their starts. They may overlap."""
    for start in range(len(text) - MIN_LENGTH + 1):
        for form in forms.get(text[start : start + MIN_LENGTH], ()):
            if text.startswith(form, start):
                yield start, start + len(form)
                break


def _merged(places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, stop = -1, -1
    for begin, end in places:
        if begin > stop:
            if stop >= 0:
                yield start, stop
            start, stop = begin, end
        else:
            stop = max(stop, end)
    if stop >= 0:
        yield start, stop
