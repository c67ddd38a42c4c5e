# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes secret values from everything that is shown, returned or logged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from .._secret_forms import secret_forms
from .events import Event

MASK = "********"
MIN_LENGTH = 3  # characters; masking shorter values would hide most of the text
_PROTOCOL_FIELDS = ("level", "kind", "key", "version")  # Packer's own words, which a secret may happen to equal
AnyEvent = TypeVar("AnyEvent", bound=Event)


class Redactor:
    """Replaces secret values, also where they are quoted, escaped or encoded.

    Args:
        values: the secrets. Those with fewer than ``MIN_LENGTH`` characters are ignored.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        self._forms = sorted(forms, key=len, reverse=True)  # longest first, because one form may contain another

    def text(self, text: str) -> str:
        """Return the text with every secret replaced by ``MASK``."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def event(self, event: AnyEvent) -> AnyEvent:
        """Return the event with every text in it redacted."""
        if not self._forms:
            return event
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if field.name in _PROTOCOL_FIELDS:
                continue
            if isinstance(value, str):
                changes[field.name] = self.text(value)
            elif isinstance(value, tuple):
                changes[field.name] = tuple(self.text(part) for part in value)
        return dataclasses.replace(event, **changes)


def _forms(value: str) -> set[str]:
    # Tools print a secret of several lines one line at a time, and may encode each line.
    lines = (line.strip() for line in value.splitlines())
    pieces = {value, value.strip(), *(line for line in lines if len(line) > MIN_LENGTH)}
    forms = {form for piece in pieces if len(piece) >= MIN_LENGTH for form in secret_forms(piece.encode())}
    return {form.decode() for form in forms if len(form) >= MIN_LENGTH}
