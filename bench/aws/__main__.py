# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-aws``: every tool replaces N instances with a new image, in one run, against Moto.

IMMUTABLE_BENCH_SIZES ("10 100") sets the numbers of instances, IMMUTABLE_BENCH_BATCH (5) how many are replaced at a
time. IMMUTABLE_BENCH_ONLY selects tools by a part of their names. From MANY instances on, only amazon.aws and the
strategies for large fleets run: ``IMMUTABLE_BENCH_SIZES=1000 IMMUTABLE_BENCH_BATCH=50 make bench-aws``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.server import cloud as start_cloud

from . import collection, peers
from .run import Case, Lab, Measured

SIZES = [int(size) for size in os.environ.get("IMMUTABLE_BENCH_SIZES", "10 100").split()]
BATCH = int(os.environ.get("IMMUTABLE_BENCH_BATCH", "5"))
ONLY = os.environ.get("IMMUTABLE_BENCH_ONLY", "")
ONE_BY_ONE = 20  # at most this many instances are replaced one by one: amazon.aws takes ten seconds for each
MANY = 500
FEWER = 3.0  # the goal: at most 1/FEWER of the calls that the best other tool makes, for 100 instances


@dataclass(frozen=True)
class Row:
    size: int
    name: str
    first: Measured
    second: Measured | None  # None if it is not measured

    @property
    def own(self) -> bool:
        """Whether it is a run of this collection."""
        return collection.NAME in self.name


def main() -> int:
    peers_folder = Path(os.environ.get("IMMUTABLE_BENCH_PEERS", ".cache/bench-peers")).resolve()
    with tempfile.TemporaryDirectory(prefix="bench-aws-") as name, start_cloud() as cloud:
        lab = Lab(Path(name), peers.install(peers_folder))
        rows = [
            measure(lab, cloud, case, size) for size in SIZES for case in contenders(lab, size) if ONLY in case.name
        ]
        slow = collection.slow(lab, cloud) if not ONLY and min(SIZES) < MANY else None
    print(table(rows))
    if slow:
        print(f"\n{slow}")
    return judge(rows)


def contenders(lab: Lab, size: int) -> list[Case]:
    if size >= MANY:
        return [*collection.large(lab, BATCH), peers.amazon(lab, BATCH)]
    cases = [peers.amazon(lab, BATCH), *([peers.amazon(lab, 1)] if size <= ONE_BY_ONE else [])]
    if peers.has_terraform():
        cases.append(peers.terraform(lab))
    else:
        print(
            "skipped: Terraform or its AWS provider is not installed "
            "(IMMUTABLE_TERRAFORM_PLUGINS names a folder of plugins)",
            file=sys.stderr,
        )
    return [*cases, *collection.cases(lab, BATCH, size <= ONE_BY_ONE)]


def measure(lab: Lab, cloud: Cloud, case: Case, size: int) -> Row:
    lab.reset(cloud)
    layers = list(cloud.proxy.layers)
    try:
        step = case.prepare(cloud, size)
        first = step.run(cloud)
        second = step.run(cloud) if case.again else None
    finally:
        cloud.proxy.layers[:] = layers
    most_frequent = dict(first.by_action.most_common(12))
    print(
        f"{size:>4} {case.name}: {first.calls} calls, {first.wall:.1f} s; {most_frequent}", file=sys.stderr, flush=True
    )
    return Row(size, case.name, first, second)


def table(rows: list[Row]) -> str:
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


def judge(rows: list[Row]) -> int:
    """Print each missed goal. Return 0 if there is none, else 1."""
    missed = []
    for size in sorted({row.size for row in rows}):
        own = [row for row in rows if row.size == size and row.own]
        others = [row for row in rows if row.size == size and not row.own]
        if own and others:
            best, most = min(row.first.calls for row in others), max(row.first.calls for row in own)
            ratios = ", ".join(
                f"{row.name.removeprefix(collection.NAME)[1:]} {row.first.calls / best:.0%}" for row in own
            )
            print(f"\n{size} instances: calls, compared with the best other tool: {ratios}")
            if size >= 100 and most * FEWER > best:
                missed.append(
                    f"{size} instances: not every strategy makes at most 1/{FEWER:.0f} of the calls "
                    "of the best other tool"
                )
        missed += [
            f"{row.name}, {size} instances: a second run made {row.second.changing} mutating calls"
            for row in own
            if row.second and row.second.changing
        ]
    for line in missed:
        print(f"goal missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
