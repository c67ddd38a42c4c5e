# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one contender as a child process, and read what it took: wall, processor time, calls."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_FIND_LINKS",
)


@dataclass
class Lab:
    """Where the compared tools work. Each gets a new network and two new images."""

    folder: Path
    peers: Path  # virtual environment with the other collection
    network: Any = None
    images: list[str] = field(default_factory=list)

    def fresh(self, cloud: Cloud) -> None:
        cloud.reset()
        cloud.set(**QUICK)
        self.network = seeds.network(cloud)
        self.images = [seeds.image(cloud, "shop-1"), seeds.image(cloud, "shop-2")]

    def plain(self, cloud: Cloud) -> dict[str, str]:
        """An environment in which nothing of this collection is known."""
        return {**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, **cloud.environment()}


QUICK: dict[str, Any] = {}  # moto as it is: everything is instant


@dataclass(frozen=True)
class Took:
    wall: float  # seconds
    cpu: float  # seconds of the contender's own processes
    calls: int
    changing: int
    by_action: Counter[str]
    output: str


@dataclass(frozen=True)
class Step:
    """One measured command, and how to see that it did its work."""

    run: Callable[[Any], Took]


@dataclass(frozen=True)
class Case:
    name: str
    prepare: Callable[[Cloud, int], Step]  # for so many instances; nothing of it is measured
    again: bool = False  # whether a second run is measured too


def command(argv: list[str], folder: Path, environment: dict[str, str], done: Callable[[Cloud], bool]) -> Step:
    """Raises RuntimeError with the last words of one that fails, or that did not do the work."""

    def run(cloud: Any) -> Took:
        if cloud is not None:
            cloud.proxy.forget()
        before, began = _cpu(), time.monotonic()
        ended = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        wall, cpu = time.monotonic() - began, _cpu() - before
        said = f"{ended.stdout}{ended.stderr}"
        if ended.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])} ended with {ended.returncode}:\n{said[-3000:]}")
        if cloud is not None and not done(cloud):
            raise RuntimeError(f"{' '.join(argv[:3])} ended well, but the work is not done:\n{said[-3000:]}")
        calls = cloud.calls() if cloud is not None else []
        return Took(
            wall,
            cpu,
            calls=len(calls),
            changing=sum(call.changing for call in calls),
            by_action=Counter(f"{call.service}:{call.action}" for call in calls),
            output=said,
        )

    return Step(run)


def _cpu() -> float:
    """Of all children that have ended; moto's server has not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
