# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Windows in which replacements may begin. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ..._definition.model import Window

DAYS_AHEAD = 8  # a window opens again within a week


def is_open(windows: Sequence[Window], at: float) -> bool:
    """Whether replacements may begin. Without windows they always may. ``at``: seconds since the epoch."""
    return not windows or any(_is_open_on(window, at, (-1, 0)) for window in windows)


def opens_at(windows: Sequence[Window], at: float) -> float:
    """When the next window opens, in seconds since the epoch."""
    return min(begin for window in windows for begin in _begins(window, at))


def format_utc(at: float) -> str:
    return datetime.fromtimestamp(at, ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M UTC")


def _is_open_on(window: Window, at: float, days: Sequence[int]) -> bool:
    """Whether the window is open on one of ``days``, counted from today; -1 is yesterday, for windows over midnight."""
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
    """The moment by wall clock time, also on days when daylight saving time begins or ends."""
    return day.replace(hour=minutes // 60 % 24, minute=minutes % 60).timestamp()
