# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""This collection does the same work, and also handles a load balancer."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.service import SWAP, promote, write_service

from ..measuring import OWN as NAME
from ..measuring import Case, Step, command
from .peers import running
from .run import Lab

LAUNCH, HEALTH, DRAIN = 2.6, 1.0, 1.0  # seconds: one tenth of EC2's and a load balancer's
SLOW = 10, 5  # instances, surge


def cases(lab: Lab, batch: int, one_by_one: bool) -> list[Case]:
    rolling = {"strategy": "rolling", "surge": batch}
    uncounted = {**rolling, "count_draining": False}
    return [
        swap_case(lab, f"rolling, surge {batch}", rolling),
        swap_case(lab, f"rolling, surge {batch}, draining not counted", uncounted),
        *([swap_case(lab, "rolling, surge 1", {"strategy": "rolling", "surge": 1})] if one_by_one else []),
        swap_case(lab, "blue_green", {"strategy": "blue_green"}),
        swap_case(
            lab,
            f"rolling, surge {batch}, draining not counted, each seal verified from console output",
            uncounted,
            evidence="console",
        ),
    ]


def large(lab: Lab, batch: int) -> list[Case]:
    """The strategies for a fleet of a thousand instances."""
    uncounted = {"strategy": "rolling", "surge": batch, "count_draining": False}
    return [
        swap_case(lab, "blue_green", {"strategy": "blue_green"}),
        swap_case(lab, f"rolling, surge {batch}, draining not counted", uncounted),
    ]


def swap_case(lab: Lab, name: str, fleet: dict[str, Any], evidence: str = "none") -> Case:
    folder = lab.folder / re.sub(r"[^a-z0-9]+", "-", name)

    def prepare(cloud: Cloud, size: int) -> Step:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        balancer = seeds.balancer(cloud, lab.network, groups=2 if fleet["strategy"] == "blue_green" else 1, delay=1)
        ami = lab.images[0]
        write_service(folder, lab.network, balancer, ami, fleet={**fleet, "size": size}, evidence=evidence)
        store = open_store(folder / "store")
        environment = {**os.environ, **cloud.environment()}
        promote(store, lab.images[0], "1")
        swap(folder, environment, lab.images[0], size).run(cloud)
        promote(store, lab.images[1], "2")
        return swap(folder, environment, lab.images[1], size)

    return Case(f"{NAME} {name}", prepare, again=True)


def swap(folder: Path, environment: dict[str, str], ami: str, size: int) -> Step:
    return command(SWAP, folder, environment, running(ami, size))


def slow(lab: Lab, cloud: Cloud) -> str:
    """Compare a rolling swap with its lower bound, in a line of text, when launches, checks and drains take time."""
    size, surge = SLOW
    lab.reset(cloud)
    cloud.set(launch=LAUNCH, health=HEALTH, drain=DRAIN)
    case = swap_case(lab, "slow", {"strategy": "rolling", "surge": surge})
    measured = case.prepare(cloud, size).run(cloud)
    waves = -(-size // surge)
    bound = waves * (LAUNCH + HEALTH + DRAIN)  # draining instances count toward the ceiling
    start = start_seconds(lab, cloud, case, size)
    seconds = measured.wall - start
    return (
        f"with a launch of {LAUNCH} s, a first check of {HEALTH} s and a drain of {DRAIN} s, "
        f"{size} instances by {surge}: lower bound {bound:.1f} s, actual {seconds:.1f} s without the start of "
        f"ansible-playbook ({start:.1f} s), overhead {seconds / bound - 1:.0%}; {measured.calls} calls"
    )


def start_seconds(lab: Lab, cloud: Cloud, case: Case, size: int) -> float:
    """Seconds of a run that changes nothing."""
    folder = lab.folder / re.sub(r"[^a-z0-9]+", "-", case.name.removeprefix(NAME + " "))
    return swap(folder, {**os.environ, **cloud.environment()}, lab.images[1], size).run(cloud).wall
