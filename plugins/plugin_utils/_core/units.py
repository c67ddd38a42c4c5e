# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse durations, sizes and counts, and format times."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone

from ...module_utils._duration import DURATIONS, parse_duration
from .errors import ImmutableError

SIZES = "an integer followed by M, G or T, such as 512M or 10G"
COUNTS = 'an integer, or a percentage such as "25%"'

_SIZE = re.compile(r"([1-9][0-9]{0,8})([MGT])")
_BYTES = {"M": 1024**2, "G": 1024**3, "T": 1024**4}
_PERCENT = re.compile(r"([0-9]{1,3})%")
_LAST_SECOND = 253402300799.0  # of the year 9999


def seconds_of(value: str | float) -> float:
    """Parse a duration such as ``90``, ``"90s"``, ``"5m"`` or ``"1h30m"`` into seconds. Raises ImmutableError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        raise ImmutableError(f"{_quoted(value)} is not a duration (allowed: {DURATIONS})") from None


def bytes_of(value: str) -> int:
    """Parse a size in powers of 1024, such as ``"512M"``, ``"10G"`` or ``"1T"``, into bytes. Raises ImmutableError."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ImmutableError(f"{_quoted(value)} is not a size (allowed: {SIZES})")
    return int(found[1]) * _BYTES[found[2]]


def count_of(value: int | str, size: int, *, up: bool = True) -> int:
    """Return the number of instances that ``value``, an integer or a percentage of ``size``, means.

    Args:
        up: whether a fraction is rounded up, as for a surge, or down, as for unavailable instances.

    Raises ImmutableError if the value is neither a count nor a percentage up to 100%.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found or int(found[1]) > 100:
        raise ImmutableError(f"{_quoted(value)} is neither a count nor a percentage (allowed: {COUNTS})")
    hundredths = int(found[1]) * size
    return -(-hundredths // 100) if up else hundredths // 100


def iso(at: float) -> str:
    """Format seconds since the epoch as ISO 8601 in UTC, such as ``2026-01-31T09:30:00Z``.

    A time before the epoch or after the year 9999, which only a damaged document has, becomes the nearest valid one.
    """
    within = min(max(at, 0.0), _LAST_SECOND)
    return datetime.fromtimestamp(within, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(value: object) -> str:
    return json.dumps(value, default=str)
