# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make soak-qemu``: kills swaps on real machines at random moments, with every strategy.

The next run must complete each swap.

IMMUTABLE_SOAK_MINUTES (15) sets the duration. IMMUTABLE_SOAK_SEED repeats the choices of an earlier run.
It ends with a summary. At the first violation it exits with 1 and leaves everything as it is; the next soak removes it.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.support.machines import PIPED, TOKEN, Service, events, kill

STRATEGIES: tuple[dict[str, Any], ...] = (
    {"strategy": "rolling"},
    {"strategy": "blue_green"},
    {"strategy": "canary", "canary": [{"instances": 1, "soak": "3s"}]},
    {"strategy": "recreate"},
    {"strategy": "recreate", "hot": True},
)
FIRST_GUESS = 30.0  # seconds of a swap, until one takes longer
UNHEALTHY = 0.2  # share of swaps to a version that never gets healthy


class Soak:
    def __init__(self, seed: int, folder: Path) -> None:
        self.rounds = 0
        self._random = random.Random(seed)
        self._longest = FIRST_GUESS
        self._healthy = {"keeper": "", "plain": ""}  # the setting of each service's last healthy version
        self._services = [
            Service(folder / "keeper", "keeper", size=2, shell="off", data=True),
            Service(folder / "plain", "plain", size=2, shell="restricted", data=False),
        ]

    def begin(self) -> None:
        for service in self._services:
            if (service.store / service.lab.provider / "machines").exists():
                service.remove()
            service.greet("soaked")
            service.play("release")
            self._healthy[service.name] = "soaked"

    def round(self) -> None:
        """One swap that is killed once or twice and then completed. Raises AssertionError."""
        choices, service = self._random, self._random.choice(self._services)
        fleet = choices.choice(STRATEGIES)
        unhealthy = choices.random() < UNHEALTHY
        words = service.write(f"{self.rounds};") if service.data else None
        settings = {"greeting": f"round {self.rounds}"}
        service.define(settings={**settings, "broken": "yes"} if unhealthy else settings, fleet=fleet)
        print(
            f"round {self.rounds}: {service.name}, {fleet['strategy']}{' hot' if fleet.get('hot') else ''}"
            f"{', never healthy' if unhealthy else ''}",
            flush=True,
        )
        for _kill in range(choices.choice((1, 1, 2))):
            self._kill_swap(service, choices.uniform(0.0, self._longest), choices.random() < 0.5)
        start = time.monotonic()
        done = service.run("swap")
        seconds = time.monotonic() - start
        self._longest = max(self._longest, seconds)
        if not unhealthy:
            self._healthy[service.name] = settings["greeting"]
        assert (done.returncode == 0) is not unhealthy, done.stdout
        service.converged(self._healthy[service.name], words)
        print(
            f"  the next run completed it in {seconds:.0f} s: {'rolled back' if unhealthy else 'swapped'}", flush=True
        )
        self.rounds += 1

    def _kill_swap(self, service: Service, moment: float, tree: bool) -> None:
        child = subprocess.Popen(service.arguments("swap"), **PIPED, start_new_session=True)
        try:
            output, _none = child.communicate(timeout=moment)
            print(f"  ended with {child.returncode} before the kill after {moment:.1f} s", flush=True)
        except subprocess.TimeoutExpired:
            kill(child, tree)
            output, _none = child.communicate()  # returns once all its processes ended
            last = (events(output) or ["nothing"])[-1]
            print(
                f"  kill -9 of {'all processes' if tree else 'ansible-playbook alone'} after {moment:.1f} s; "
                f"last event: {last}",
                flush=True,
            )

    def end(self) -> None:
        for service in self._services:
            service.remove()
            assert service.machines() == []


def main() -> int:
    minutes = float(os.environ.get("IMMUTABLE_SOAK_MINUTES", "15"))
    seed = int(os.environ.get("IMMUTABLE_SOAK_SEED") or secrets.randbelow(10**6))
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    print(f"soak: {minutes:g} minutes, IMMUTABLE_SOAK_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(seed, Path(folder))
        soak.begin()
        until = time.monotonic() + 60 * minutes
        try:
            while time.monotonic() < until:
                soak.round()
            soak.end()
        except AssertionError as violation:
            print(f"\nsoak: VIOLATED in round {soak.rounds}, IMMUTABLE_SOAK_SEED={seed}: {violation}")
            return 1
    print(
        f"\nsoak: {soak.rounds} swaps were killed at random moments and completed by the next run, no violation; "
        f"IMMUTABLE_SOAK_SEED={seed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
