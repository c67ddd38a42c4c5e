# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durations as users write them."""

from __future__ import annotations

import re

DURATIONS = "seconds, or numbers with units such as 90s, 5m or 1h30m"
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SECONDS = re.compile(_NUMBER)
_PART = re.compile(rf"({_NUMBER})\s*([dhms])\s*")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``5m``, ``1h30m`` or ``1h 30m``. Raises ValueError for anything else.

    A number without a unit stands alone: ``1h30`` could be meant as minutes or as seconds.
    """
    compact = text.strip()
    if _SECONDS.fullmatch(compact):
        return float(compact)
    if not _DURATION.fullmatch(compact):
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(compact))
