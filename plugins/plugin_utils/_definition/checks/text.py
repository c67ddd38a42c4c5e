# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse scalars that YAML reads as something else than what is written, such as 0027 or 1.10.

Settings, variables and options of a builder become text on a host or in a build. There, a scalar that is not read as
text must arrive as it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..document import VARIABLES, Document, KeyPath, target_names, value_at

# Numbers that YAML 1.2 reads differently: an octal number, or a time such as 22:22 in base 60.
_AMBIGUOUS = re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+:[0-9:_.]+)")
# Ansible reads a mapping with such a key as a text, a vaulted value or another type of its own.
_ANSIBLE_KEYS = ("__ansible_unsafe", "__ansible_vault", "__ansible_type")


def check_texts(document: Document) -> None:
    """Add a problem for each value that would not arrive as it is written.

    Anything else is refused only if it is a number in octal notation or in base 60, which readers of YAML disagree on.
    """
    settings = [("targets", name, "settings") for name in target_names(document.data)]
    typed = [VARIABLES, *(("targets", name, "build", "options") for name in target_names(document.data))]
    for path, written in list(document.written.items()):
        value = value_at(document.data, path)
        if value is None or isinstance(value, str):
            continue
        if path[:-1] in settings or (not isinstance(value, bool) and any(_is_in(path, place) for place in typed)):
            if json.dumps(value) != written:
                document.add_problem(path, _altered(written, value, text=True))
        elif isinstance(value, (int, float)) and _AMBIGUOUS.fullmatch(written):
            document.add_problem(path, _altered(written, value, text=False))
    for place in settings:
        _check_characters(document, place)
    for path in _mappings(value_at(document.data, VARIABLES), VARIABLES):
        _check_keys(document, path)


def _is_in(path: KeyPath, place: KeyPath) -> bool:
    return path[: len(place)] == place


def _altered(written: str, value: Any, *, text: bool) -> str:
    read = json.dumps(value)
    kind = "" if isinstance(value, bool) else "the number "
    quotes = f"put it in quotes: {json.dumps(written)}, or " if text else ""
    return f"{written} is read as {kind}{read}; {quotes}write {read}"


def _check_characters(document: Document, place: KeyPath) -> None:
    """A setting is also a variable of a service's environment, which systemd reads only as Unicode without NUL."""
    settings = value_at(document.data, place)
    for name, value in settings.items() if isinstance(settings, Mapping) else ():
        found = next(filter(_is_refused, value), "") if isinstance(value, str) else ""
        if found:
            document.add_problem(
                (*place, name),
                f"the text contains U+{ord(found):04X}, which no environment variable can hold; remove it",
            )


def _is_refused(char: str) -> bool:
    number = ord(char)
    return number == 0 or 0xFDD0 <= number <= 0xFDEF or number & 0xFFFE == 0xFFFE  # NUL and Unicode's noncharacters


def _mappings(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of each mapping below ``path``."""
    if isinstance(value, Mapping):
        yield path
    for key in value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, list) else ():
        yield from _mappings(value[key], (*path, key))


def _check_keys(document: Document, path: KeyPath) -> None:
    for key in _ANSIBLE_KEYS:
        if key in value_at(document.data, path):
            document.add_problem(
                (*path, key), "Ansible reads a mapping with this key as a value of its own; rename the key"
            )
