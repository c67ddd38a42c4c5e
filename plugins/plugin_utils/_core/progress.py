# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How rooms report progress to a waiting user, without knowing about terminals."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[str], None]  # one line, without a newline; returns at once


class WithBar(str):
    """A line with a bar, which only a terminal shows, before the line.

    Attributes:
        gauge: a short text, such as one character for each slot of a fleet.
        legend: what the characters of the gauge mean. It is shown once, before the first line.
    """

    gauge: str
    legend: str

    def __new__(cls, line: str, gauge: str, legend: str = "") -> WithBar:
        made = super().__new__(cls, line)
        made.gauge, made.legend = gauge, legend
        return made


MAX_LINES = 2000  # that are shown as they come
INTERVAL = 10.0  # seconds between two lines after that


def silent(line: str) -> None:
    """A Report that discards the line."""


class LineLimit:
    """Shows every line of a short task, and a sample of the lines of one with ten thousand steps or a thousand hosts.

    After ``MAX_LINES`` lines one line is shown every ``INTERVAL`` seconds, with the number of those left out before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown = 0
        self._left_out = 0
        self._at = clock()

    def next(self, line: str) -> str | None:
        """Return the line as it is shown, or None if it is not."""
        now = self._clock()
        if self._shown >= MAX_LINES and now - self._at < INTERVAL:
            self._left_out += 1
            return None
        before = f"({self._left_out} lines left out) " if self._left_out else ""
        self._shown, self._left_out, self._at = self._shown + 1, 0, now
        return before + line
