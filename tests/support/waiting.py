# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for what another process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 120.0  # seconds for what takes less than one on an idle machine


def until(condition: Callable[[], T], patience: float = PATIENCE, why: Callable[[], str] = lambda: "") -> T:
    """Return what the condition returns once that is true.

    Raises AssertionError after ``patience`` seconds, with what ``why`` returns then.
    """
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {patience:g} s\n{why()}".rstrip()
        threading.Event().wait(0.05)
    return found
