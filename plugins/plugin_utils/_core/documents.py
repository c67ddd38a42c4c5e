# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse JSON that others may have written, and compare it with the types that a document must have.

The work is bounded: by the size of the text, by a maximum depth, and by the depth of the types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints, is_typeddict

MAX_DEPTH = 100  # levels of lists and objects
MAX_INTEGER_LENGTH = 100  # characters, as in a definition; each such integer is a finite number, too
_NAMES = {str: "a text", int: "an integer", float: "a number", bool: "true or false", NoneType: "null"}


def parse_json(data: bytes | str) -> Any:
    """Return the JSON value in ``data``.

    Raises ValueError, never RecursionError, if it is not JSON, nests too deeply or has a number out of range.
    """
    try:
        value = json.loads(data, parse_constant=_refuse, parse_int=_integer, parse_float=_number)
    except RecursionError:
        raise ValueError(f"it nests more than {MAX_DEPTH} levels") from None
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [
            below
            for each in level
            if isinstance(each, (dict, list))
            for below in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError(f"it nests more than {MAX_DEPTH} levels")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}, which is not a number")


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER_LENGTH:
        raise ValueError(f"the number {text[:20]} is out of range")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


def mismatch(value: Any, hint: Any, at: str = "") -> str:
    """Return where and how plain data differs from a type, or "".

    Args:
        hint: a plain type, a Literal, a union, a list, tuple or mapping of these, a TypedDict, or a dataclass, whose
            fields with a default may be missing. Unknown keys are ignored.
        at: where the value is, for the message.
    """
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return ""
    if origin in (Union, UnionType):
        found = [mismatch(value, each, at) for each in args]
        return "" if "" in found else found[0]
    if origin is Literal:
        return "" if value in args and not isinstance(value, bool) else f"{_place(at)}expected one of {list(args)}"
    if hint in _NAMES:
        # Ansible marks text from hosts by a class of its own. True is an integer for Python alone.
        fits = isinstance(value, (int, float) if hint is float else hint) and isinstance(value, bool) is (hint is bool)
        return "" if fits else f"{_place(at)}expected {_NAMES[hint]}"
    if is_typeddict(hint) or is_dataclass(hint):
        return _keys_mismatch(value, hint, at)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return f"{_place(at)}expected an object"
        return _first(mismatch(each, args[1], f"{at}.{key}") for key, each in value.items())
    return _items_mismatch(value, origin, args, at)


def _keys_mismatch(value: Any, hint: Any, at: str) -> str:
    if not isinstance(value, dict):
        return f"{_place(at)}expected an object"
    hints, required = _keys_of(hint)
    missing = sorted(required - value.keys())
    if missing:
        return f"{_place(at)}{missing[0]} is missing"
    return _first(mismatch(value[name], hints[name], f"{at}.{name}") for name in hints if name in value)


@cache
def _keys_of(hint: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The types of a class by key, and the keys without a default."""
    required = (
        hint.__required_keys__
        if is_typeddict(hint)
        else {each.name for each in fields(hint) if each.default is MISSING and each.default_factory is MISSING}
    )
    return get_type_hints(hint), frozenset(required)


def _items_mismatch(value: Any, origin: Any, args: Sequence[Any], at: str) -> str:
    if not isinstance(value, (list, tuple)):
        return f"{_place(at)}expected a list"
    fixed = origin is tuple and args[-1] is not ...
    if fixed and len(value) != len(args):
        return f"{_place(at)}expected {len(args)} items"
    return _first(
        mismatch(each, args[number] if fixed else args[0], f"{at}[{number}]") for number, each in enumerate(value)
    )


def _first(found: Any) -> str:
    return next(filter(None, found), "")


def _place(at: str) -> str:
    return f"{at.lstrip('.')[:80]}: " if at else ""
