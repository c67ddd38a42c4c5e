# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench``: measure, print, write the page, and fail where a goal is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from . import sizes, swaps
from .cases import SIZES, cases, crowded
from .report import Found, page, size_table, swap_table, work_table

PAGE = Path(__file__).resolve().parents[1] / "docs/explanation/performance.md"


def measure(say: Callable[[str], None]) -> Found:
    found, wanted = [], cases()
    for number, case in enumerate(wanted, 1):
        say(f"{number} of {len(wanted)}: {case.name}, {case.size:,}")
        found.append(swaps.measure(case))
    say("latencies that vary, and many volumes at a time")
    varied, crowd = [swaps.measure_spread(size) for size in SIZES], swaps.measure(crowded())
    say("one plan and one look")
    return Found(found, varied, crowd, sizes.measure_sizes())


def missed(found: Found) -> list[str]:
    return [
        *swaps.missed(found.swaps),
        *swaps.missed_calls(found.varied),
        *swaps.missed_work(found.swaps),
        *sizes.missed(found.sizes),
    ]


def main() -> int:
    found = measure(lambda line: print(line, flush=True))
    for table in (
        swap_table([*found.swaps, *found.varied]),
        size_table(found.sizes),
        work_table([*found.swaps, *found.varied]),
    ):
        print(f"\n{table.text()}")
    PAGE.write_text(page(found, datetime.now(timezone.utc).date()), encoding="utf-8")
    print(f"\nwritten: {PAGE.relative_to(PAGE.parents[2])}")
    lines = missed(found)
    for line in lines:
        print(f"MISSED  {line}")
    print(f"goals missed: {len(lines)}" if lines else "every goal was reached")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
