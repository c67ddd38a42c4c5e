# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The results as tables for the terminal, and as a page of the documentation, from the template ``page.md``."""

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
from .swaps import MOST_TIME, MOST_WORK, SPREAD, Measured, growth

Row = Sequence[str]


@dataclass(frozen=True)
class Results:
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


def swap_table(measured: Iterable[Measured]) -> Table:
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
    return Table(head, [_swap_row(one) for one in measured])


def _swap_row(one: Measured) -> Row:
    case, swap = one.case, one.swap
    calls = swap.calls.total()
    times = (f"{one.bound:,.0f} s", f"{swap.seconds:,.1f} s", f"{one.over:.1%}")
    by_unit = (f"{calls / case.waves:.1f}", f"{calls / case.volumes:.1f}" if case.volumes else "")
    return (
        case.name,
        f"{case.size:,}",
        f"{case.waves:,}",
        *times,
        f"{calls:,}",
        *by_unit,
        f"{one.observations:,}",
        f"{swap.writes:,}",
    )


def size_table(growths: Iterable[Growth]) -> Table:
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
    return Table(head, [_size_row(one) for one in growths])


def _size_row(one: Growth) -> Row:
    times, memory = (
        [f"{seconds * 1000:.1f} ms" for seconds in one.seconds],
        [f"{size / 1e6:.2f} MB" for size in one.memory],
    )
    return (one.name, *times, f"{one.time_ratio:.1f}", *memory, f"{one.memory_ratio:.1f}", f"{one.steps_ratio:.2f}")


def work_table(measured: Sequence[Measured]) -> Table:
    grown = {name: f"{times:.1f}" for name, times in growth(measured)}
    largest = [(one.case.name, one.swap.cpu) for one in measured if one.case.size == SIZES[-1]]
    head = (f"swap of {SIZES[-1]:,}", "CPU time", "per instance", f"ratio to {SIZES[-2]:,}")
    return Table(
        head, [(name, f"{cpu:.1f} s", f"{cpu / SIZES[-1] * 1000:.1f} ms", grown.get(name, "")) for name, cpu in largest]
    )


def page(results: Results, today: date) -> str:
    cases = {one.case.name: one.case for one in results.swaps}.values()
    formulas = [(case.name, case.bound.formula, case.bound.reason) for case in cases]
    gaps = {one.case.name: one for one in results.swaps if one.case.bound.gap}.values()
    tables = {
        "formulas": Table(("swap", "lower bound", "reason"), formulas),
        "swaps": swap_table(results.swaps),
        "varied": swap_table(results.varied),
        "gaps": Table(
            ("swap", "gap", "lower bound"),
            [(one.case.name, f"{one.swap.result['downtime']:.1f} s", one.case.bound.gap) for one in gaps],
        ),
        "sizes": size_table(results.sizes),
        "work": work_table([*results.swaps, *results.varied]),
    }
    latencies = {name: f"{getattr(CLOUD, name):g}" for name in ("boot", "health", "check", "drain", "stop", "call")}
    goals = {
        "slower": f"{MOST_TIME - 1:.0%}",
        "steps": f"{sizes.MOST_STEPS:g}",
        "memory": f"{sizes.MOST_MEMORY:g}",
        "time": f"{sizes.MOST_TIME:g}",
        "cpu": f"{MOST_WORK:g}",
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
        crowded=f"{results.crowded.over:.0%}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        today=today.isoformat(),
    )
