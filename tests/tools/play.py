"""How the gates of a set are run, and what is said about them.

Gates that need one core run side by side, one on each core. Their output goes to .cache/gates and, if they fail, to the
terminal as well. Then the gates that use all cores run, one after the other. Their output goes to the terminal only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

LOGS = Path(__file__).resolve().parents[2] / ".cache/gates"
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Gate:
    function: Callable[[], None]
    alone: bool = False  # it uses all cores

    @property
    def name(self) -> str:
        return self.function.__name__


@dataclass(frozen=True)
class Ended:
    name: str
    seconds: float
    passed: bool


def play(gate: Gate) -> Ended:
    """Run a gate in a process of its own."""
    began = time.monotonic()
    command = [sys.executable, Path(__file__).with_name("gates.py"), "one", gate.name]
    if gate.alone:
        done = subprocess.run(command, check=False)
    else:
        with log_of(gate.name).open("wb") as log:
            done = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT)
    return Ended(gate.name, time.monotonic() - began, done.returncode == 0)


def log_of(name: str) -> Path:
    return LOGS / f"{name}.log"


def show(ended: Ended) -> None:
    """One line for a gate that passed, all of its output for one that failed."""
    if ended.passed:
        print(f"{ended.name} passed in {ended.seconds:.0f} s", flush=True)
    else:
        print(f"\n=== {ended.name}", flush=True)
        print(log_of(ended.name).read_text(encoding="utf-8", errors="replace"), flush=True)


def play_all(gates: list[Gate]) -> list[Ended]:
    ended = []
    together = [gate for gate in gates if not gate.alone]
    if together:
        print(f"\n=== side by side: {', '.join(gate.name for gate in together)}", flush=True)
        LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(CORES) as pool:
        for future in as_completed([pool.submit(play, gate) for gate in together]):
            ended.append(future.result())
            show(ended[-1])
    for gate in gates:
        if gate.alone:
            print(f"\n=== {gate.name}", flush=True)
            ended.append(play(gate))
    return ended


def table(ended: list[Ended], seconds: float) -> str:
    """How each gate ended and how many seconds it took, and the whole run."""
    rows = [f"{each.name:<17} {each.seconds:7.1f}  {'passed' if each.passed else 'FAILED'}" for each in ended]
    failed = sum(not each.passed for each in ended)
    total = f"{'in all':<17} {seconds:7.1f}"
    return "\n".join(
        ["", "gate              seconds  result", *rows, total, "", f"{len(ended) - failed} passed, {failed} failed"]
    )
