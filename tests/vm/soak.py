# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill swaps on real machines at random moments, with every strategy, and see each ended by the next run: make soak-qemu

IMMUTABLE_SOAK_MINUTES (15) says how long, IMMUTABLE_SOAK_SEED repeats the choices of an earlier run.
Ends with a summary, and with 1 at the first violation; then all is left as it was found, and the next soak takes it away.
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
FIRST_GUESS = 30.0  # seconds that a swap may take, until a longer one was seen
UNWELL = 0.2  # share of swaps that are to a version which never gets healthy


class Soak:
    def __init__(self, seed: int, folder: Path) -> None:
        self.rounds = 0
        self._chance = random.Random(seed)
        self._longest = FIRST_GUESS
        self._well = {"keeper": "", "plain": ""}  # the setting that each service serves with
        self._services = [
            Service(folder / "keeper", "keeper", size=2, shell="off", data=True),
            Service(folder / "plain", "plain", size=2, shell="restricted", data=False),
        ]

    def begin(self) -> None:
        for service in self._services:
            if (service.store / "qemu/machines").exists():
                service.remove()
            service.greet("soaked")
            service.play("release")
            self._well[service.name] = "soaked"

    def round(self) -> None:
        """One swap that is killed, perhaps twice, and ended. Raises AssertionError."""
        chance, service = self._chance, self._chance.choice(self._services)
        fleet = chance.choice(STRATEGIES)
        unwell = chance.random() < UNWELL
        words = service.write(f"{self.rounds};") if service.data else None
        settings = {"greeting": f"round {self.rounds}"}
        service.define(settings={**settings, "broken": "yes"} if unwell else settings, fleet=fleet)
        print(
            f"round {self.rounds}: {service.name}, {fleet['strategy']}{' hot' if fleet.get('hot') else ''}{', never healthy' if unwell else ''}",
            flush=True,
        )
        for _kill in range(chance.choice((1, 1, 2))):
            self._cut(service, chance.uniform(0.0, self._longest), chance.random() < 0.5)
        began = time.monotonic()
        done = service.run("swap")
        took = time.monotonic() - began
        self._longest = max(self._longest, took)
        if not unwell:
            self._well[service.name] = settings["greeting"]
        assert (done.returncode == 0) is not unwell, done.stdout
        service.converged(self._well[service.name], words)
        print(f"  the next run ended it in {took:.0f} s: {'taken back' if unwell else 'swapped'}", flush=True)
        self.rounds += 1

    def _cut(self, service: Service, moment: float, tree: bool) -> None:
        child = subprocess.Popen(service.arguments("swap"), **PIPED, start_new_session=True)
        try:
            said, _none = child.communicate(timeout=moment)
            print(f"  ended by itself with {child.returncode} before {moment:.1f} s were over", flush=True)
        except subprocess.TimeoutExpired:
            kill(child, tree)
            said, _none = child.communicate()  # to the end of every process that still holds it
            last = (events(said) or ["nothing"])[-1]
            print(
                f"  kill -9 of {'all processes' if tree else 'ansible-playbook alone'} after {moment:.1f} s; said last: {last}",
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
        f"\nsoak: {soak.rounds} swaps killed at random moments and ended by the next run, none in violation; IMMUTABLE_SOAK_SEED={seed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
