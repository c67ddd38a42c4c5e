# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs tools as child processes and measures them: wall time, CPU time, calls to a cloud that counts them."""

from __future__ import annotations

import resource
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

OWN = "immutable.infra"
PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_FIND_LINKS",
)


class CountedCall(Protocol):
    """A call that a cloud received."""

    @property
    def service(self) -> str:
        """The service that was called."""

    @property
    def action(self) -> str:
        """What it was asked for."""

    @property
    def changing(self) -> bool:
        """Whether the call asked for a change."""


class CallLog(Protocol):
    """A proxy that records calls."""

    def forget(self) -> None:
        """Forget the calls so far."""


class CountingCloud(Protocol):
    """A cloud that is called through a proxy."""

    @property
    def proxy(self) -> CallLog:
        """The proxy."""

    def calls(self) -> Sequence[CountedCall]:
        """The calls since the proxy forgot the others."""


@dataclass(frozen=True)
class Measured:
    """What one run of a tool took."""

    wall: float  # seconds
    cpu: float  # seconds of the tool's own processes
    calls: int
    changing: int
    by_action: Counter[str]
    output: str


@dataclass(frozen=True)
class Step:
    """One measured command."""

    run: Callable[[Any], Measured]


@dataclass(frozen=True)
class Case:
    """One tool's way to do the work."""

    name: str
    prepare: Callable[[Any, int], Step]  # for a cloud and a number of instances; not measured
    again: bool = False  # whether a second run is measured too


@dataclass(frozen=True)
class Row:
    """What one case took with a number of instances."""

    size: int
    name: str
    first: Measured
    second: Measured | None  # None if it is not measured

    @property
    def own(self) -> bool:
        """Whether it is a run of this collection."""
        return OWN in self.name


def command(
    argv: list[str], folder: Path, environment: dict[str, str], done: Callable[[Any], bool] = lambda _cloud: True
) -> Step:
    """A step that runs a command.

    Raises RuntimeError with the end of the output if the command fails or if ``done`` says that the work is not done.
    """

    def run(cloud: CountingCloud | None) -> Measured:
        if cloud is not None:
            cloud.proxy.forget()
        cpu, start = _cpu(), time.monotonic()
        completed = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        wall, cpu = time.monotonic() - start, _cpu() - cpu
        output = f"{completed.stdout}{completed.stderr}"
        if completed.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])} failed with {completed.returncode}:\n{output[-3000:]}")
        if cloud is not None and not done(cloud):
            raise RuntimeError(f"{' '.join(argv[:3])} succeeded, but the work is not done:\n{output[-3000:]}")
        calls = cloud.calls() if cloud is not None else []
        return Measured(
            wall=wall,
            cpu=cpu,
            calls=len(calls),
            changing=sum(call.changing for call in calls),
            by_action=Counter(f"{call.service}:{call.action}" for call in calls),
            output=output,
        )

    return Step(run)


def table(rows: Iterable[Row]) -> str:
    """The results as a table in Markdown."""
    head = (
        f"| {'instances':>9} | {'tool':<50} | {'wall time':>9} | {'CPU time':>8} | {'calls':>6} "
        f"| {'mutating calls':>14} | {'second run: calls':>17} | {'mutating calls':>14} |"
    )
    lines = [head, "|" + "|".join("-" * (len(part)) for part in head.split("|")[1:-1]) + "|"]
    for row in rows:
        first, second = row.first, row.second
        again = f"{second.calls:>17} | {second.changing:>14}" if second else f"{'':>17} | {'':>14}"
        lines.append(
            f"| {row.size:>9} | {row.name:<50} | {first.wall:>7.1f} s | {first.cpu:>6.1f} s | {first.calls:>6} "
            f"| {first.changing:>14} | {again} |"
        )
    return "\n".join(lines)


def misses(rows: Sequence[Row], least: int, fewer: float) -> list[str]:
    """Print how many calls this collection makes compared with the best other tool, and return the missed goals.

    Args:
        least: from this number of instances on, each strategy makes at most one ``fewer``-th of the calls.
    """
    missed = []
    for size in sorted({row.size for row in rows}):
        own = [row for row in rows if row.size == size and row.own]
        others = [row for row in rows if row.size == size and not row.own]
        if own and others:
            best, most = min(row.first.calls for row in others), max(row.first.calls for row in own)
            ratios = ", ".join(f"{row.name.removeprefix(OWN)[1:]} {row.first.calls / best:.0%}" for row in own)
            print(f"\n{size} instances: calls, compared with the best other tool: {ratios}")
            if size >= least and most * fewer > best:
                missed.append(
                    f"{size} instances: not every strategy makes at most 1/{fewer:.0f} of the calls "
                    "of the best other tool"
                )
        missed += [
            f"{row.name}, {size} instances: a second run made {row.second.changing} mutating calls"
            for row in own
            if row.second and row.second.changing
        ]
    return missed


def _cpu() -> float:
    """CPU seconds of all children that ended. The servers of the cloud still run."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
