# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the number in what a metric's source said, and judge it by its bounds. Pure; ``metric_sources`` asks the sources."""

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
_MOST_SHOWN = 60  # characters of what was found instead of a number


@dataclass(frozen=True)
class Reading:
    """``problem`` is "" where the metric is as it should be, else why not, in one line. ``told``: the source answered as it should."""

    problem: str = ""
    told: bool = True


def judge(text: str, metric: Metric) -> Reading:
    """What an answer of the metric's source says by its bounds."""
    try:
        value = number_in(text, metric.path)
    except ValueError as error:
        return Reading(str(error), told=False)
    name = metric.path or "the number"
    if metric.least is not None and value < metric.least:
        return Reading(f"{name} is {value:g}, less than {metric.least:g}")
    if metric.most is not None and value > metric.most:
        return Reading(f"{name} is {value:g}, more than {metric.most:g}")
    return Reading()


def number_in(text: str, path: str) -> float:
    """The finite number at ``path`` in the JSON ``text``; a number as text counts too, as Prometheus gives it. Raises ValueError."""
    if not path and _NUMBER.fullmatch(text):
        return _number(text, "the answer")
    if not text.strip():
        raise ValueError("the answer is empty")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"the answer is neither JSON nor a number: {_shown(text)}") from None
    seen = ""
    for name, index in _steps(path):
        if index is not None:
            if not isinstance(found, list) or index >= len(found):
                raise ValueError(f"{path} is not there: {_where(seen)} {_kind(found)}, so it has no [{index}]")
            found, seen = found[index], f"{seen}[{index}]"
        else:
            if not isinstance(found, dict) or name not in found:
                raise ValueError(f"{path} is not there: {_where(seen)} {_kind(found)}, so it has no {name}")
            found, seen = found[name], f"{seen}.{name}" if seen else name
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


def _where(seen: str) -> str:
    return f"{seen} is" if seen else "the answer is"


def _kind(found: Any) -> str:
    if isinstance(found, dict):
        return f"a mapping of {_shown(', '.join(map(str, found)))}" if found else "an empty mapping"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    return _shown(json.dumps(found))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."


def name_of(metric: Metric) -> str:
    """What people know it by. Who may ask, and what exactly is asked for, can be secrets in a URL, so they are left out."""
    if not metric.url:
        return f"command {metric.command[0]}"
    parts = urlsplit(metric.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?...' if parts.query else ''}"
