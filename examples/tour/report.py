# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps of the quickstart, with the time and the result of each."""

from __future__ import annotations

import time
from collections.abc import Callable

from tour.shell import Failure


class Report:
    """The table of the steps.

    Args:
        before: seconds that were spent before the first step, on packages that it needs.
    """

    def __init__(self, before: float = 0.0) -> None:
        self.rows: list[tuple[str, float, str]] = []
        self._began = time.monotonic() - before
        if before > 0:
            self.rows.append(("install what the first steps need", before, "ok"))

    def step(self, name: str, work: Callable[[], str]) -> None:
        """Do a step and add its row. ``work`` returns the result in a few words, or raises Failure."""
        print(f"\n=== {name}", flush=True)
        began = time.monotonic()
        try:
            result = work()
        except Failure as failure:
            self.rows.append((name, time.monotonic() - began, f"FAILED: {failure}"))
            raise
        self.rows.append((name, time.monotonic() - began, result))

    def table(self) -> str:
        width = max(len(name) for name, _seconds, _result in self.rows)
        lines = [f"{'step':<{width}}  seconds  result", f"{'-' * width}  -------  ------"]
        lines += [f"{name:<{width}}  {seconds:7.1f}  {result}" for name, seconds, result in self.rows]
        lines.append(f"{'total':<{width}}  {time.monotonic() - self._began:7.1f}")
        return "\n".join(lines)
