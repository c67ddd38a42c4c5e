# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The unit in which clouds count the size of volumes."""

from __future__ import annotations

GIB = 1024**3  # bytes


def gib(size: int) -> int:
    """Bytes as whole GiB, rounded up."""
    return -(-size // GIB)
