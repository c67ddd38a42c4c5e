# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench``: measures, prints the results, writes the page, and fails if a goal is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from . import sizes, swaps
from .cases import SIZES, cases, crowded
from .report import Results, page, size_table, swap_table, work_table

PAGE = Path(__file__).resolve().parents[1] / "docs/explanation/performance.md"


def measure(report: Callable[[str], None]) -> Results:
    chosen, measured = cases(), []
    for number, case in enumerate(chosen, 1):
        report(f"{number} of {len(chosen)}: {case.name}, {case.size:,}")
        measured.append(swaps.measure(case))
    report("latencies that vary, and many volumes at a time")
    varied, crowd = [swaps.measure_spread(size) for size in SIZES], swaps.measure(crowded())
    report("one plan and one observation")
    return Results(swaps=measured, varied=varied, crowded=crowd, sizes=sizes.measure_sizes())


def missed(results: Results) -> list[str]:
    return [
        *swaps.missed(results.swaps),
        *swaps.missed_calls(results.varied),
        *swaps.missed_work(results.swaps),
        *sizes.missed(results.sizes),
    ]


def main() -> int:
    results = measure(lambda line: print(line, flush=True))
    for table in (
        swap_table([*results.swaps, *results.varied]),
        size_table(results.sizes),
        work_table([*results.swaps, *results.varied]),
    ):
        print(f"\n{table.text()}")
    PAGE.write_text(page(results, datetime.now(timezone.utc).date()), encoding="utf-8")
    print(f"\nwritten: {PAGE.relative_to(PAGE.parents[2])}")
    lines = missed(results)
    for line in lines:
        print(f"MISSED  {line}")
    print(f"goals missed: {len(lines)}" if lines else "every goal was reached")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
