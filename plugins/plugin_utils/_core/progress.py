# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How rooms report progress to a waiting user, without knowing about terminals."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str], None]  # one line, without a newline; returns at once


def silent(line: str) -> None:
    """A Report that discards the line."""
