"""One run of tests of properties with a seed, for ``fuzz.py`` and ``soak.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def end_with_this() -> None:
    """What this process plays ends with it, also if it is killed."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
    import reaper

    reaper.reap()


def play(seed: int, tests: Iterable[str], options: Iterable[str] = ()) -> tuple[str, str]:
    """Play the tests until one fails.

    Args:
        tests: files, relative to the root of the repository.
        options: more of pytest.

    Returns:
        What pytest printed, and if a test failed all that it said, else "".
    """
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--hypothesis-profile=soak",
        f"--hypothesis-seed={seed}",
        *options,
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout, done.stdout + done.stderr if done.returncode else ""
