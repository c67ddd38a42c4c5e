# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one tool as a child process and measures it: wall time, CPU time, calls."""

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
    """The account that the compared tools work in. Each tool gets a new network and two new images."""

    folder: Path
    peers: Path  # virtual environment with the other collection
    network: Any = None
    images: list[str] = field(default_factory=list)

    def reset(self, cloud: Cloud) -> None:
        cloud.reset()
        cloud.set(**QUICK)
        self.network = seeds.network(cloud)
        self.images = [seeds.image(cloud, "shop-1"), seeds.image(cloud, "shop-2")]

    def peer_environment(self, cloud: Cloud) -> dict[str, str]:
        """An environment without this collection."""
        return {**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, **cloud.environment()}


QUICK: dict[str, Any] = {}  # moto as it is: everything is instant


@dataclass(frozen=True)
class Measured:
    """What one run of a tool took."""

    wall: float  # seconds
    cpu: float  # seconds of the tool's own processes
    calls: int
    changing: int
    by_action: Counter[str]
    output: str


@dataclass(frozen=True)
class Step:
    """One measured command."""

    run: Callable[[Any], Measured]


@dataclass(frozen=True)
class Case:
    name: str
    prepare: Callable[[Cloud, int], Step]  # for a number of instances; not measured
    again: bool = False  # whether a second run is measured too


def command(argv: list[str], folder: Path, environment: dict[str, str], done: Callable[[Cloud], bool]) -> Step:
    """A step that runs a command.

    Raises RuntimeError with the end of the output if the command fails or if ``done`` says that the work is not done.
    """

    def run(cloud: Any) -> Measured:
        if cloud is not None:
            cloud.proxy.forget()
        cpu, start = _cpu(), time.monotonic()
        completed = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        wall, cpu = time.monotonic() - start, _cpu() - cpu
        output = f"{completed.stdout}{completed.stderr}"
        if completed.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])} failed with {completed.returncode}:\n{output[-3000:]}")
        if cloud is not None and not done(cloud):
            raise RuntimeError(f"{' '.join(argv[:3])} succeeded, but the work is not done:\n{output[-3000:]}")
        calls = cloud.calls() if cloud is not None else []
        return Measured(
            wall=wall,
            cpu=cpu,
            calls=len(calls),
            changing=sum(call.changing for call in calls),
            by_action=Counter(f"{call.service}:{call.action}" for call in calls),
            output=output,
        )

    return Step(run)


def _cpu() -> float:
    """CPU seconds of all children that ended. The server of moto still runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
