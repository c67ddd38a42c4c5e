# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-aws``: every tool replaces N instances with a new image, in one run, against Moto.

IMMUTABLE_BENCH_SIZES ("10 100") sets the numbers of instances. IMMUTABLE_BENCH_ONLY selects tools by a part of their names.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.aws.server import Cloud, cloud

from . import ours, peers
from .run import Case, Lab, Took

SIZES = [int(size) for size in os.environ.get("IMMUTABLE_BENCH_SIZES", "10 100").split()]
ONLY = os.environ.get("IMMUTABLE_BENCH_ONLY", "")
ONE_BY_ONE = 20  # at most this many instances are replaced one by one: amazon.aws takes ten seconds for each
FEWER = 3.0  # the goal: at most 1/FEWER of the calls that the best other tool makes, for 100 instances
Row = tuple[int, str, Took, "Took | None"]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-aws-") as name, cloud() as sky:
        lab = Lab(
            Path(name), peers.install(Path(os.environ.get("IMMUTABLE_BENCH_PEERS", ".cache/bench-peers")).resolve())
        )
        rows = [
            row
            for size in SIZES
            for case in contenders(lab, size)
            if ONLY in case.name
            for row in [measure(lab, sky, case, size)]
        ]
        late = ours.slow(lab, sky) if not ONLY else None
    print(table(rows))
    if late:
        print(f"\n{late}")
    return judge(rows)


def contenders(lab: Lab, size: int) -> list[Case]:
    found = [peers.amazon(lab, 5), *([peers.amazon(lab, 1)] if size <= ONE_BY_ONE else [])]
    if peers.has_terraform():
        found.append(peers.terraform(lab))
    else:
        print(
            "skipped: Terraform or its AWS provider is not installed (IMMUTABLE_TERRAFORM_PLUGINS names a folder of plugins)",
            file=sys.stderr,
        )
    return [*found, *ours.cases(lab, size <= ONE_BY_ONE)]


def measure(lab: Lab, sky: Cloud, case: Case, size: int) -> Row:
    lab.fresh(sky)
    layers = list(sky.proxy.layers)
    try:
        step = case.prepare(sky, size)
        took = step.run(sky)
        again = step.run(sky) if case.again else None
    finally:
        sky.proxy.layers[:] = layers
    print(
        f"{size:>4} {case.name}: {took.calls} calls, {took.wall:.1f} s; {dict(took.by_action.most_common(12))}",
        file=sys.stderr,
        flush=True,
    )
    return size, case.name, took, again


def table(rows: list[Row]) -> str:
    head = (
        f"| {'instances':>9} | {'tool':<50} | {'wall time':>9} | {'CPU time':>8} | {'calls':>6} | {'mutating calls':>14} "
        f"| {'second run: calls':>17} | {'mutating calls':>14} |"
    )
    lines = [head, "|" + "|".join("-" * (len(part)) for part in head.split("|")[1:-1]) + "|"]
    for size, name, took, again in rows:
        second = (f"{again.calls:>17} | {again.changing:>14}") if again else f"{'':>17} | {'':>14}"
        lines.append(
            f"| {size:>9} | {name:<50} | {took.wall:>7.1f} s | {took.cpu:>6.1f} s | {took.calls:>6} | {took.changing:>14} | {second} |"
        )
    return "\n".join(lines)


def judge(rows: list[Row]) -> int:
    """Print each missed goal. Return 0 if there is none, else 1."""
    missed = []
    for size in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == size and ours.NAME in row[1]]
        others = [row for row in rows if row[0] == size and ours.NAME not in row[1]]
        if mine and others:
            best, most = min(row[2].calls for row in others), max(row[2].calls for row in mine)
            ratios = ", ".join(f"{row[1].removeprefix(ours.NAME)[1:]} {row[2].calls / best:.0%}" for row in mine)
            print(f"\n{size} instances: calls, compared with the best other tool: {ratios}")
            if size >= 100 and most * FEWER > best:
                missed.append(
                    f"{size} instances: not every strategy makes at most 1/{FEWER:.0f} of the calls of the best other tool"
                )
        missed += [
            f"{row[1]}, {size} instances: a second run made {row[3].changing} mutating calls"
            for row in mine
            if row[3] and row[3].changing
        ]
    for line in missed:
        print(f"goal missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
