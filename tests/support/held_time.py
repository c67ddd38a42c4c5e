# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Short timeouts that do not pass because the machine is busy."""

from __future__ import annotations

import time
from types import ModuleType

import pytest


class HeldTime:
    """Replaces the module ``time`` in code that only reads the monotonic clock.

    The clock stands still until ``run`` is called. So a timeout begins at the event that a test is about, however long
    it takes to get there.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._run_at: float | None = None

    def monotonic(self) -> float:
        if self._run_at is None:
            return self._began
        return self._began + time.monotonic() - self._run_at

    def run(self) -> None:
        """Let time pass from now on. Further calls have no effect."""
        if self._run_at is None:
            self._run_at = time.monotonic()


def hold_time(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> HeldTime:
    """Let these modules read a clock that stands still."""
    held = HeldTime()
    for module in modules:
        monkeypatch.setattr(module, "time", held)
    return held
