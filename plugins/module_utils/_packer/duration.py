# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durations as people write them."""

from __future__ import annotations

import re

from .errors import PackerError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def seconds(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m`` or ``1h30m``. Raises PackerError for anything else and for zero."""
    compact = text.strip()
    parts = _DURATION.findall(compact)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if (
        not re.fullmatch(rf"(?:{_DURATION.pattern}\s*)+", compact)
        or total <= 0
        or (len(parts) > 1 and not all(unit for _number, unit in parts))
    ):
        raise PackerError(
            f"timeout: {text!r} is no duration; write seconds, or a number and a unit such as 90s, 30m or 1h30m"
        )
    return total
