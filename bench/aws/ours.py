# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""This collection does the same work, and also handles a load balancer."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

from .peers import running
from .run import Case, Lab, Step, command

NAME = "immutable.infra"
SERVICE, TARGET, CHANNEL = "shop", "prod", "prod"
LAUNCH, HEALTH, DRAIN = 2.6, 1.0, 1.0  # seconds: one tenth of EC2's and a load balancer's
SLOW = 10, 5  # instances, surge


def cases(lab: Lab, one_by_one: bool) -> list[Case]:
    surge_5 = {"strategy": "rolling", "surge": 5}
    return [
        swap_case(lab, "rolling, surge 5", surge_5),
        *([swap_case(lab, "rolling, surge 1", {"strategy": "rolling", "surge": 1})] if one_by_one else []),
        swap_case(lab, "blue_green", {"strategy": "blue_green"}),
        swap_case(lab, "rolling, surge 5, each seal verified from console output", surge_5, evidence="console"),
    ]


def swap_case(lab: Lab, name: str, fleet: dict[str, Any], evidence: str = "none") -> Case:
    folder = lab.folder / re.sub(r"[^a-z0-9]+", "-", name)

    def prepare(cloud: Cloud, size: int) -> Step:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        groups = seeds.balancer(cloud, lab.network, groups=2 if fleet["strategy"] == "blue_green" else 1)
        traffic = {
            "target_groups": list(groups.groups),
            **({"rule": groups.listener} if len(groups.groups) == 2 else {}),
        }
        write(folder, definition(lab, {**fleet, "size": size, "drain": {"timeout": "1s"}}, traffic, evidence))
        environment = {**os.environ, **cloud.environment()}
        promote(folder, lab.images[0], "1")
        swap(folder, environment, lab.images[0], size).run(cloud)
        promote(folder, lab.images[1], "2")
        return swap(folder, environment, lab.images[1], size)

    return Case(f"{NAME} {name}", prepare, again=True)


def definition(lab: Lab, fleet: dict[str, Any], traffic: dict[str, Any], evidence: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "service": SERVICE,
        "version": "1",
        "image": {"base": {"ami": lab.images[0], "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
        "health": {"http": {"port": 8080}},
        "fleet": fleet,
        "targets": {
            TARGET: {
                "provider": "aws",
                "region": REGION,
                "network": {
                    "subnets": dict(zip(lab.network.zones, lab.network.subnets, strict=True)),
                    "security_groups": [lab.network.group],
                },
                "traffic": traffic,
                "evidence": evidence,
                "probe": "balancer",
            }
        },
    }


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "provision.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    task = {"immutable.infra.fleet": {"definition": ".", "target": TARGET, "store": "store", "channel": CHANNEL}}
    (folder / "swap.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]), encoding="utf-8"
    )


def promote(folder: Path, ami: str, version: str) -> None:
    """Leave the store as a bake, a verification and a promotion leave it."""
    store, now = open_store(folder / "store"), datetime.now(timezone.utc).isoformat()
    image = Image(
        digest=f"sha256:{version.zfill(64)}",
        build="aws-123456789012-x86_64",
        service=SERVICE,
        version=version,
        created=now,
        artifact={"ami": ami, "region": REGION, "copies": {}},
        base={},
        inputs={},
        verified={"at": now},
    )
    Catalogue(store).add(image)
    Channels(store).promote(SERVICE, CHANNEL, image, by="bench")


def swap(folder: Path, environment: dict[str, str], ami: str, size: int) -> Step:
    return command(["ansible-playbook", "-i", "localhost,", "swap.yml"], folder, environment, running(ami, size))


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
