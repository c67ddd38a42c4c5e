# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Split lists into parts that one AWS call accepts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

MAX_FILTER_VALUES = 200  # values of one filter in a call of EC2
MAX_PARAMETERS = 10  # names in a call of SSM's GetParameters
_T = TypeVar("_T")


def batches(values: Sequence[_T], size: int) -> Iterator[list[_T]]:
    """Lists of at most ``size`` values, in order; none if there are no values."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
