# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hours in which replacements may begin. Pure: the time is handed in, the time zone's rules come with Python or the system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ..._definition.model import Window

DAYS_AHEAD = 8  # a window opens again within a week


def is_open(windows: Sequence[Window], at: float) -> bool:
    """``at``: seconds since the epoch. Without windows every hour is allowed."""
    return not windows or any(_spans(window, at, (-1, 0)) for window in windows)


def opens_at(windows: Sequence[Window], at: float) -> float:
    """When the next window opens, in seconds since the epoch."""
    return min(begin for window in windows for begin in _begins(window, at))


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M UTC")


def _spans(window: Window, at: float, days: Sequence[int]) -> bool:
    """Whether one that began today or yesterday (over midnight) is open."""
    return any(begin <= at < end for begin, end in _on_days(window, at, days))


def _begins(window: Window, at: float) -> list[float]:
    return [begin for begin, _end in _on_days(window, at, range(DAYS_AHEAD)) if begin > at][:1]


def _on_days(window: Window, at: float, days: Sequence[int]) -> list[tuple[float, float]]:
    zone = ZoneInfo(window.timezone)
    today = datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for ahead in days:
        day = today + timedelta(days=ahead)
        if day.weekday() in window.days:
            last = day + timedelta(days=int(window.end <= window.start))
            found.append((_moment(day, window.start), _moment(last, window.end)))
    return found


def _moment(day: datetime, minutes: int) -> float:
    """By the clock on the wall, whatever the hour is called that summer time takes or gives."""
    return day.replace(hour=minutes // 60 % 24, minute=minutes % 60).timestamp()
