#!/usr/bin/env python3
"""Play random histories of fleets until the time is over.

SOAK_MINUTES says how long (default 10), SOAK_SEED which seed is the first (default: the time of day), SOAK_STRATEGY
which strategy is played (default: all). Each core that this process may use takes one seed after the other. The first
violation stops the run. The output then shows the smallest history that breaks the promise and how to play it again.
"""

from __future__ import annotations

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import hypothesis_run

STRATEGIES = ("rolling", "canary", "blue_green", "recreate", "reimage")
TESTS = ["tests/property/test_fleet_promises.py", "tests/property/test_fleet_progress.py"]


def play(seed: int) -> tuple[int, str]:
    """How many histories were played, and what pytest said where one broke a promise."""
    options = ["-k", "not absent"] if os.environ.get("SOAK_STRATEGY") else []
    output, failure = hypothesis_run.play(seed, TESTS, options)
    told = re.search(r"(\d+) histories", output)
    return int(told[1]) if told else 0, failure


def main() -> int:
    hypothesis_run.end_with_this()
    strategy = os.environ.get("SOAK_STRATEGY")
    if strategy and strategy not in STRATEGIES:
        print(f"SOAK_STRATEGY: unknown strategy {strategy!r} (allowed: {', '.join(STRATEGIES)})")
        return 2
    minutes = float(os.environ.get("SOAK_MINUTES", "10"))
    first = int(os.environ.get("SOAK_SEED", time.time()))
    began, histories, seed, cores = time.monotonic(), 0, first, len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        while time.monotonic() - began < minutes * 60:
            seeds = range(seed, seed + cores)
            for number, (played, failure) in zip(seeds, pool.map(play, seeds), strict=True):
                histories += played
                if failure:
                    print(failure)
                    print(f"soak: a promise was broken with seed {number}, after {histories} histories.")
                    chosen = f" SOAK_STRATEGY={strategy}" if strategy else ""
                    print(f"To see it again: SOAK_SEED={number}{chosen} make soak")
                    return 1
            seed = seeds.stop
            print(
                f"soak: {histories} histories, seeds {first} to {seed - 1}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    print(f"soak: every promise was kept in {histories} histories")
    return 0


if __name__ == "__main__":
    sys.exit(main())
