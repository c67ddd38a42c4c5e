# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the number in the answer of a metric's source and compare it with its bounds. Pure.

``metric_sources`` queries the sources.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._definition.model import Metric

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_MAX_SHOWN = 60  # characters of an unexpected value in a message


@dataclass(frozen=True)
class Reading:
    """The result of reading a metric once."""

    problem: str = ""  # one line; "" if the metric is within its bounds
    answered: bool = True  # whether the source gave a valid answer


def evaluate(text: str, metric: Metric) -> Reading:
    """Compare the answer of a metric's source with the metric's bounds."""
    try:
        value = number_in(text, metric.path)
    except ValueError as error:
        return Reading(str(error), answered=False)
    name = metric.path or "the number"
    if metric.least is not None and value < metric.least:
        return Reading(f"{name} is {value:g}, less than {metric.least:g}")
    if metric.most is not None and value > metric.most:
        return Reading(f"{name} is {value:g}, more than {metric.most:g}")
    return Reading()


def number_in(text: str, path: str) -> float:
    """The finite number at ``path`` in the JSON ``text``. A number as text counts, as Prometheus returns it.

    Raises ValueError with the reason if there is none.
    """
    if not path and _NUMBER.fullmatch(text):
        return _number(text, "the answer")
    if not text.strip():
        raise ValueError("the answer is empty")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"the answer is neither JSON nor a number: {_shown(text)}") from None
    done = ""  # the part of the path that exists
    for name, index in _steps(path):
        if index is not None:
            if not isinstance(found, list) or index >= len(found):
                raise ValueError(f"{path} is not there: {_subject(done)} {_kind(found)}, so it has no [{index}]")
            found, done = found[index], f"{done}[{index}]"
        else:
            if not isinstance(found, dict) or name not in found:
                raise ValueError(f"{path} is not there: {_subject(done)} {_kind(found)}, so it has no {name}")
            found, done = found[name], f"{done}.{name}" if done else name
    return _number(found, path or "the answer")


def _steps(path: str) -> Iterator[tuple[str, int | None]]:
    for name, index in _STEP.findall(path):
        yield (name, None) if name else ("", int(index))


def _number(found: Any, name: str) -> float:
    number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if not number and not (isinstance(found, str) and _NUMBER.fullmatch(found)):
        raise ValueError(f"{name} is not a number: {_shown(json.dumps(found))}")
    try:
        value = float(found)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number: {_shown(str(value))}")
    return value


def _subject(done: str) -> str:
    return f"{done} is" if done else "the answer is"


def _kind(found: Any) -> str:
    if isinstance(found, dict):
        return f"a mapping of {_shown(', '.join(map(str, found)))}" if found else "an empty mapping"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    return _shown(json.dumps(found))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def name_of(metric: Metric) -> str:
    """The metric's name in messages: credentials and queries of a URL may be secret, so they are left out."""
    if not metric.url:
        return f"command {metric.command[0]}"
    parts = urlsplit(metric.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?...' if parts.query else ''}"
