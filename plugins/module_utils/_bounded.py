# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bounds for text and lists that others choose: guests, Packer, clouds, and the number of hosts of a fleet.

What is shown or returned has a bound, so that no screen, log or database of results is filled by it.
"""

from __future__ import annotations

MAX_LINE = 1000  # characters that are kept of one line for a screen or a result
MAX_MESSAGE = 4000  # characters that are kept of the message of a failure


def shortened(text: str, keep: int = MAX_LINE) -> str:
    """Return the text, or its beginning and end, ``keep`` characters together, with the number of those left out."""
    if len(text) <= keep:
        return text
    end = keep // 3
    return f"{text[: keep - end]} [... {len(text) - keep} characters left out ...] {text[len(text) - end :]}"
