# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was measured, as tables on the terminal and as a page of the documentation (``page.md`` with its gaps filled)."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template

from . import sizes
from .cases import CROWD, SIZES, SOAK, TOGETHER
from .lab import CLOUD
from .sizes import Growth
from .swaps import CPU, SLOWER, SPREAD, Measured, growth

Row = Sequence[str]


@dataclass(frozen=True)
class Found:
    swaps: Sequence[Measured]
    varied: Sequence[Measured]
    crowded: Measured
    sizes: Sequence[Growth]


@dataclass(frozen=True)
class Table:
    head: Row
    rows: Sequence[Row]

    def markdown(self) -> str:
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.head, ["---"] * len(self.head), *self.rows))

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (self.head, *self.rows)
        )


def swap_table(found: Iterable[Measured]) -> Table:
    head = (
        "swap",
        "instances",
        "waves",
        "lower bound",
        "actual",
        "overhead",
        "mutating calls",
        "per wave",
        "per volume",
        "observations",
        "writes",
    )
    return Table(head, [_swap_row(each) for each in found])


def _swap_row(each: Measured) -> Row:
    case, swap = each.case, each.swap
    calls = swap.calls.total()
    times = (f"{each.bound:,.0f} s", f"{swap.seconds:,.1f} s", f"{each.over:.1%}")
    by_unit = (f"{calls / case.waves:.1f}", f"{calls / case.volumes:.1f}" if case.volumes else "")
    return (
        case.name,
        f"{case.size:,}",
        f"{case.waves:,}",
        *times,
        f"{calls:,}",
        *by_unit,
        f"{each.looks:,}",
        f"{swap.writes:,}",
    )


def size_table(found: Iterable[Growth]) -> Table:
    small, large = f"{sizes.SMALL:,}", f"{sizes.LARGE:,}"
    head = (
        "operation",
        f"time, {small}",
        f"time, {large}",
        "ratio",
        f"memory, {small}",
        f"memory, {large}",
        "ratio",
        "ratio of steps",
    )
    return Table(head, [_size_row(each) for each in found])


def _size_row(each: Growth) -> Row:
    times, memory = (
        [f"{seconds * 1000:.1f} ms" for seconds in each.seconds],
        [f"{size / 1e6:.2f} MB" for size in each.memory],
    )
    return (each.name, *times, f"{each.slower:.1f}", *memory, f"{each.larger:.1f}", f"{each.longer:.2f}")


def work_table(found: Sequence[Measured]) -> Table:
    grown = {name: f"{times:.1f}" for name, times in growth(found)}
    largest = [(each.case.name, each.swap.cpu) for each in found if each.case.size == SIZES[-1]]
    head = (f"swap of {SIZES[-1]:,}", "CPU time", "per instance", f"ratio to {SIZES[-2]:,}")
    return Table(
        head, [(name, f"{cpu:.1f} s", f"{cpu / SIZES[-1] * 1000:.1f} ms", grown.get(name, "")) for name, cpu in largest]
    )


def page(found: Found, today: date) -> str:
    cases = {each.case.name: each.case for each in found.swaps}.values()
    formulas = [(case.name, case.formula.text, case.formula.why) for case in cases]
    gaps = {each.case.name: each for each in found.swaps if each.case.formula.gap}.values()
    tables = {
        "formulas": Table(("swap", "lower bound", "reason"), formulas),
        "swaps": swap_table(found.swaps),
        "varied": swap_table(found.varied),
        "gaps": Table(
            ("swap", "gap", "lower bound"),
            [(each.case.name, f"{each.swap.result['downtime']:.1f} s", each.case.formula.gap) for each in gaps],
        ),
        "sizes": size_table(found.sizes),
        "work": work_table([*found.swaps, *found.varied]),
    }
    latencies = {name: f"{getattr(CLOUD, name):g}" for name in ("boot", "health", "check", "drain", "stop", "call")}
    goals = {
        "slower": f"{SLOWER - 1:.0%}",
        "steps": f"{sizes.STEPS:g}",
        "memory": f"{sizes.MEMORY:g}",
        "time": f"{sizes.TIME:g}",
        "cpu": f"{CPU:g}",
    }
    counts = {"many": SIZES[-1], "large": sizes.LARGE, "small": sizes.SMALL, "together": TOGETHER, "crowd": CROWD}
    template = Template((Path(__file__).parent / "page.md").read_text(encoding="utf-8"))
    return template.substitute(
        **{name: table.markdown() for name, table in tables.items()},
        **latencies,
        **goals,
        **{name: f"{count:,}" for name, count in counts.items()},
        h=f"{CLOUD.health + CLOUD.check:g}",
        soak=f"{SOAK:g}",
        spread=f"{SPREAD:.0%}",
        crowded=f"{found.crowded.over:.0%}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        today=today.isoformat(),
    )
