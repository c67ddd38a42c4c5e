# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bounds for text and lists that others choose: guests, Packer, clouds, and the number of hosts of a fleet.

What is shown or returned has a bound, so that no screen, log or database of results is filled by it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator

MAX_LINE = 1000  # characters that are kept of one line for a screen or a result
MAX_MESSAGE = 20_000  # characters that are kept of the message of a failure


def shortened(text: str, keep: int = MAX_LINE) -> str:
    """Return the text, or its beginning and end, ``keep`` characters together, with the number of those left out."""
    if len(text) <= keep:
        return text
    end = keep // 3
    return f"{text[: keep - end]} [... {len(text) - keep} characters left out ...] {text[len(text) - end :]}"


class LastLines:
    """The last lines of an output, each shortened, with at most ``max_bytes`` bytes of JSON together."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._lines: deque[tuple[str, int]] = deque()
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._bytes = 0

    def add(self, lines: Iterable[str]) -> None:
        """Add lines, and drop the first ones that are too many."""
        for line in lines:
            kept = shortened(line)
            size = len(json.dumps(kept)) + 2  # with a comma and a space
            self._lines.append((kept, size))
            self._bytes += size
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= self._lines.popleft()[1]

    def __iter__(self) -> Iterator[str]:
        return (line for line, _size in self._lines)
