# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep the result of a task below what databases of results store, such as the 700,000 bytes of AWX.

A result of a usual size is not touched. One of a thousand hosts or of ten thousand inputs loses entries of its longest
lists. What is left out is counted, and can be read elsewhere: in the record of a swap, or with ``complete``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils._bounded import shortened

MAX_RESULT = 600_000  # bytes of JSON
LEFT_OUT = "left_out"  # key of a result: how many entries are missing, by the path of their list
_ENTRIES = (200, 50, 10, 2)  # that are kept of a list, the first number with which the result is small enough
_KEYS = 50  # entries that a record may have; a mapping with more of them is shortened like a list
_CHARACTERS = 100  # of a text, for each entry that is kept of a list
_BOTH_ENDS = ("timeline", "steps", "history")  # lists whose end matters as much as their beginning


def bounded_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's result of at most about ``MAX_RESULT`` bytes, with its number of missing entries."""
    size = _size(result)
    if size <= MAX_RESULT:
        return dict(result)
    bounded, left_out = dict(result), dict[str, int]()
    for entries in _ENTRIES:
        left_out = {}
        bounded = {name: _cut(value, entries, (name,), left_out) for name, value in result.items()}
        if _size(bounded) <= MAX_RESULT:
            break
    missing = ", ".join(f"{count} of {path}" for path, count in sorted(left_out.items()))
    warning = f"the result would have {size} bytes, so entries are left out: {missing}"
    return {**bounded, LEFT_OUT: left_out, "warnings": [*(bounded.get("warnings") or ()), warning]}


def _size(data: Any) -> int:
    return len(json.dumps(data, default=str))


def _cut(value: Any, entries: int, path: tuple[str, ...], left_out: dict[str, int]) -> Any:
    """The value with at most ``entries`` entries in each list, and the number of the others in ``left_out``."""
    if isinstance(value, str):
        return shortened(value, entries * _CHARACTERS)
    if isinstance(value, Mapping):
        kept = list(value.items())
        if len(kept) > max(entries, _KEYS):
            _count(left_out, path, len(kept) - max(entries, _KEYS))
            kept = kept[: max(entries, _KEYS)]
        # Keys that users choose, such as names of files, are not part of a path.
        return {key: _cut(part, entries, path if len(value) > _KEYS else (*path, key), left_out) for key, part in kept}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_cut(part, entries, path, left_out) for part in _kept(value, entries, path, left_out)]
    return value


def _kept(value: Sequence[Any], entries: int, path: tuple[str, ...], left_out: dict[str, int]) -> list[Any]:
    if len(value) <= entries:
        return list(value)
    _count(left_out, path, len(value) - entries)
    if path[-1] in _BOTH_ENDS:
        return [*value[: entries - entries // 2], *value[len(value) - entries // 2 :]]
    return list(value[:entries])


def _count(left_out: dict[str, int], path: tuple[str, ...], count: int) -> None:
    name = ".".join(path)
    left_out[name] = left_out.get(name, 0) + count
