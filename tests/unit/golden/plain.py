# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plain JSON data for golden files: values that differ from run to run are replaced by fixed texts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data/0.1.0"
DAYS = 2 * 86400.0
FIXED = 1_609_459_200.0  # 2021-01-01T00:00:00Z: the time in captured data
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
_STAMP = re.compile(r"(?<!\d)\d{8}T\d{6}")


def golden(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def today() -> str:
    return datetime.now(timezone.utc).isoformat()


def as_text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def plain(value: Any, texts: Mapping[str, str] | None = None, now: str = "<time>") -> Any:
    """Return ``value`` as JSON data.

    Each text in ``texts`` is replaced by its value. Times within two days of now become ``<time>``, or FIXED with
    ``now="fixed"``.
    The form of a time stays: ``<time>`` is a number, ``<time>Z`` a text that ends with Z.
    """
    return _plain(json.loads(json.dumps(value, default=_json)), texts or {}, now)


def _plain(value: Any, texts: Mapping[str, str], now: str) -> Any:
    if isinstance(value, dict):
        return {_text(key, texts, now): _plain(part, texts, now) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part, texts, now) for part in value]
    if isinstance(value, str):
        return _text(value, texts, now)
    if isinstance(value, (int, float)) and _recent(value):
        return now if now == "<time>" else type(value)(FIXED)
    return value


def _text(text: str, texts: Mapping[str, str], now: str) -> str:
    for old, new in texts.items():
        text = text.replace(old, new)
    for pattern, form in ((_ISO, "%Y-%m-%dT%H:%M:%S"), (_STAMP, "%Y%m%dT%H%M%S")):
        text = pattern.sub(lambda found, form=form: _time(found[0], form, now), text)
    return re.sub(
        r"@(\d{10})$", lambda found: f"@{FIXED:.0f}" if _recent(int(found[1])) else found[0], text
    )  # a boot of an instance


def _time(text: str, form: str, now: str) -> str:
    try:
        at = datetime.strptime(text.partition(".")[0], form).replace(tzinfo=timezone.utc)
    except ValueError:
        return text
    if not _recent(at.timestamp()):
        return text
    return now if now == "<time>" else datetime.fromtimestamp(FIXED, timezone.utc).strftime(form)


def _recent(at: float) -> bool:
    return abs(at - time.time()) < DAYS


def _json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is no plain data")


def restored(value: Any) -> Any:
    """Return captured data with times as boto3 returns them."""
    if isinstance(value, dict):
        return (
            datetime.fromisoformat(value["$time"])
            if set(value) == {"$time"}
            else {key: restored(part) for key, part in value.items()}
        )
    return [restored(part) for part in value] if isinstance(value, list) else value


def differing(expected: Any, found: Any, path: str = "") -> Iterable[str]:
    """Yield a line for each difference, for the messages of tests."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from differing(expected.get(key, "(absent)"), found.get(key, "(absent)"), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (left, right) in enumerate(zip(expected, found, strict=True)):
            yield from differing(left, right, f"{path}[{number}]")
    elif expected != found or type(expected) is not type(found):
        yield f"{path}: {expected!r} was captured, {found!r} is found"


def compare(name: str, found: Any) -> None:
    """Raise AssertionError if ``found`` differs from the golden file ``name``."""
    lines = list(differing(golden(name), found))
    assert not lines, f"{name}: " + "\n".join(lines[:20])


LATER = ("last_failure", "unreleased")  # keys of results that a later release added


def without_later(value: Any) -> Any:
    """Return results without the keys that a later release added, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_later(part) for key, part in value.items() if key not in LATER}
    return [without_later(part) for part in value] if isinstance(value, list) else value
