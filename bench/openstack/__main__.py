# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-openstack``: every tool replaces N servers with those of a new image, in one run.

It runs on the control plane of the tests, a real one whose hosts only pretend to run servers. Servers have no networks.
IMMUTABLE_BENCH_SIZES ("10 50") sets the numbers of servers, IMMUTABLE_BENCH_BATCH (5) how many are replaced at a time.
IMMUTABLE_BENCH_ONLY selects tools by a part of their names.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ..measuring import Case, Row, misses, table
from ..peers import install
from . import collection, heat_root, peers
from .heat import heat, name_of
from .lab import Lab
from .proxy import call_proxy

SIZES = [int(size) for size in os.environ.get("IMMUTABLE_BENCH_SIZES", "10 50").split()]
BATCH = int(os.environ.get("IMMUTABLE_BENCH_BATCH", "5"))
ONLY = os.environ.get("IMMUTABLE_BENCH_ONLY", "")
FEWER = 3.0  # the goal: at most 1/FEWER of the calls that the best other tool makes, for 50 servers


def main() -> int:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bench-openstack-")))
        lab = Lab(folder, install(), running.enter_context(call_proxy()))
        cases = [*peers.cases(lab, BATCH), *collection.cases(lab, BATCH)]
        if heat_root.folder().exists():
            cases[2:2] = running.enter_context(heat(lab, BATCH)) if ONLY in name_of(BATCH) else ()
        else:
            print("skipped: Heat is not installed", file=sys.stderr)
        measured = [measure(lab, case, size) for size in SIZES for case in cases if ONLY in case.name]
    rows = [row for row in measured if row]
    print(table(rows))
    missed = [*misses(rows, 50, FEWER), *(["a tool failed"] if len(rows) < len(measured) else [])]
    for line in missed:
        print(f"goal missed: {line}")
    return 1 if missed else 0


def measure(lab: Lab, case: Case, size: int) -> Row | None:
    """Measure one case, or print why it failed."""
    lab.reset()
    try:
        step = case.prepare(lab, size)
        first = step.run(lab)
        second = step.run(lab) if case.again else None
    except RuntimeError as error:
        print(f"{size:>4} {case.name}: {error}", file=sys.stderr, flush=True)
        return None
    frequent = dict(first.by_action.most_common(12))
    print(f"{size:>4} {case.name}: {first.calls} calls, {first.wall:.1f} s; {frequent}", file=sys.stderr, flush=True)
    return Row(size, case.name, first, second)


if __name__ == "__main__":
    sys.exit(main())
