# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one call of AWS takes is bounded: a list in as many parts as calls are needed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

FILTER = 200  # values that EC2 takes of a filter
PARAMETERS = 10  # names that SSM takes in one call
_T = TypeVar("_T")


def batches(values: Sequence[_T], size: int) -> Iterator[list[_T]]:
    """Lists of at most ``size``, in the order of ``values``; none for nothing."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
