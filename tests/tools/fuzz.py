#!/usr/bin/env python3
"""Give the parsers of text from outside random inputs until the time is over.

FUZZ_MINUTES says how long (default 10), FUZZ_SEED which seed is the first (default: the time of day). The first input
that causes anything but an error of this project stops the run. The output then shows the smallest such input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = [
    "tests/property/test_outside_text.py",
    "tests/property/test_definition_total.py",
    "tests/property/test_manifest_round_trip.py",
]


def play(seed: int) -> str:
    """What pytest said if a parser failed, else ""."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--hypothesis-profile=soak",
        f"--hypothesis-seed={seed}",
        *TESTS,
    ]
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def main() -> int:
    minutes = float(os.environ.get("FUZZ_MINUTES", "10"))
    first = seed = int(os.environ.get("FUZZ_SEED", time.time()))
    began = time.monotonic()
    while time.monotonic() - began < minutes * 60:
        failure = play(seed)
        if failure:
            print(f"{failure}\nfuzz: a parser failed with seed {seed}. To see it again: FUZZ_SEED={seed} make fuzz")
            return 1
        seed += 1
        print(f"fuzz: seeds {first} to {seed - 1}, {time.monotonic() - began:.0f} s", flush=True)
    print("fuzz: every input was read or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
