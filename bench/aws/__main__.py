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
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.server import cloud as start_cloud

from ..measuring import Case, Row, misses, table
from ..peers import install
from . import collection, peers
from .run import Lab

SIZES = [int(size) for size in os.environ.get("IMMUTABLE_BENCH_SIZES", "10 100").split()]
BATCH = int(os.environ.get("IMMUTABLE_BENCH_BATCH", "5"))
ONLY = os.environ.get("IMMUTABLE_BENCH_ONLY", "")
ONE_BY_ONE = 20  # at most this many instances are replaced one by one: amazon.aws takes ten seconds for each
MANY = 500
FEWER = 3.0  # the goal: at most 1/FEWER of the calls that the best other tool makes, for 100 instances


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-aws-") as name, start_cloud() as cloud:
        lab = Lab(Path(name), install())
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


def judge(rows: list[Row]) -> int:
    """Print each missed goal. Return 0 if there is none, else 1."""
    missed = misses(rows, 100, FEWER)
    for line in missed:
        print(f"goal missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
