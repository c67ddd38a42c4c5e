# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durations, sizes and counts as people write them."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone

from .errors import ImmutableError

DURATIONS = "seconds, or numbers with units such as 90s, 5m or 1h30m"
SIZES = "a whole number with M, G or T, such as 512M or 10G"
COUNTS = 'an integer, or a percentage such as "25%"'

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(rf"(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s?)?")
_SECONDS = (86400.0, 3600.0, 60.0, 1.0)
_SIZE = re.compile(r"([1-9][0-9]{0,8})([MGT])")
_BYTES = {"M": 1024**2, "G": 1024**3, "T": 1024**4}
_PERCENT = re.compile(r"([0-9]{1,3})%")


def seconds_of(value: str | float) -> float:
    """Seconds of ``90``, ``"90"``, ``"90s"``, ``"5m"``, ``"1h30m"``. Raises ImmutableError for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found or not any(found.groups()):
        raise ImmutableError(f"{_shown(value)} is not a duration (allowed: {DURATIONS})")
    return sum(float(number) * unit for number, unit in zip(found.groups(), _SECONDS, strict=True) if number)


def bytes_of(value: str) -> int:
    """Bytes of ``"512M"``, ``"10G"``, ``"1T"`` in powers of 1024. Raises ImmutableError for anything else."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ImmutableError(f"{_shown(value)} is not a size (allowed: {SIZES})")
    return int(found[1]) * _BYTES[found[2]]


def count_of(value: int | str, size: int, *, up: bool = True) -> int:
    """How many of ``size`` an integer or a percentage stands for.

    Args:
        up: which way part of an instance is rounded: up for a surge, down for what may be unavailable.

    Raises ImmutableError for what is neither a count nor a percentage up to 100%.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found or int(found[1]) > 100:
        raise ImmutableError(f"{_shown(value)} is neither a count nor a percentage (allowed: {COUNTS})")
    hundredths = int(found[1]) * size
    return -(-hundredths // 100) if up else hundredths // 100


def iso(at: float) -> str:
    """A time in seconds since the epoch as ISO 8601 in UTC, such as ``2026-01-31T09:30:00Z``."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: object) -> str:
    return json.dumps(value, default=str)
