#!/usr/bin/env python3
"""Give the parsers of text from outside random inputs until the time is over.

FUZZ_MINUTES says how long (default 10), FUZZ_SEED which seed is the first (default: the time of day). The first input
that causes anything but an error of this project stops the run. The output then shows the smallest such input.
"""

from __future__ import annotations

import os
import sys
import time

import hypothesis_run

TESTS = [
    "tests/property/test_outside_text.py",
    "tests/property/test_definition_total.py",
    "tests/property/test_manifest_round_trip.py",
]


def main() -> int:
    hypothesis_run.end_with_this()
    minutes = float(os.environ.get("FUZZ_MINUTES", "10"))
    first = seed = int(os.environ.get("FUZZ_SEED", time.time()))
    began = time.monotonic()
    while time.monotonic() - began < minutes * 60:
        _output, failure = hypothesis_run.play(seed, TESTS)
        if failure:
            print(f"{failure}\nfuzz: a parser failed with seed {seed}. To see it again: FUZZ_SEED={seed} make fuzz")
            return 1
        seed += 1
        print(f"fuzz: seeds {first} to {seed - 1}, {time.monotonic() - began:.0f} s", flush=True)
    print("fuzz: every input was read or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
