# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet on AWS as a user has it: a definition, a store in a folder with promoted images, and ``ansible-playbook``."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

from . import seeds
from .server import REGION, Cloud
from .watch import PromiseWatcher

SIZE = 2


class FleetPlaybook:
    """``swap`` runs the playbook once. The promises are checked as in ``swaplab``."""

    def __init__(self, cloud: Cloud, folder: Path, fleet: dict[str, Any]) -> None:
        self.cloud, self.folder = cloud, folder
        self.net = seeds.network(cloud)
        two = fleet.get("strategy") == "blue_green"
        self.balancer = seeds.balancer(cloud, self.net, 2 if two else 1)
        self.rule = self.balancer.listener if two else ""
        self.store = open_store(folder / "store")
        self.amis = [seeds.image(cloud, f"shop-{number}") for number in (1, 2)]
        traffic = {"target_groups": list(self.balancer.groups), **({"rule": self.rule} if two else {})}
        subnets = dict(zip(self.net.zones, self.net.subnets, strict=True))
        network = {"subnets": subnets, "security_groups": [self.net.group]}
        definition = {
            "schema": 1,
            "service": "shop",
            "version": "1",
            "image": {"base": {"ami": self.amis[0], "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
            "health": {"http": {"port": 8080}},
            "fleet": {"size": SIZE, "drain": {"timeout": "1s"}, **fleet},
            "targets": {
                "prod": {
                    "provider": "aws",
                    "region": REGION,
                    "network": network,
                    "traffic": traffic,
                    "probe": "balancer",
                }
            },
        }
        task = {"immutable.infra.fleet": {"definition": ".", "target": "prod", "store": "store", "channel": "prod"}}
        (folder / "provision.yml").write_text("[]\n", encoding="utf-8")
        (folder / "immutable.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
        (folder / "swap.yml").write_text(
            json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]), encoding="utf-8"
        )
        self.watcher = PromiseWatcher(cloud, self.balancer.groups, self.rule, self.intent)
        cloud.proxy.layers.insert(1, self.watcher)

    def intent(self) -> dict[str, Any]:
        found = self.store.read("fleets/shop-prod/intent.json")
        return dict(found[0]) if found else {}

    def promote(self, number: int) -> None:
        """Leave the store as a bake, a verification and a promotion leave it."""
        now, digest = datetime.now(timezone.utc).isoformat(), f"sha256:{str(number).zfill(64)}"
        artifact = {"ami": self.amis[number], "region": REGION, "copies": {}}
        image = Image(
            digest=digest,
            build="aws-123456789012-x86_64",
            service="shop",
            version=str(number),
            created=now,
            artifact=artifact,
            base={},
            inputs={},
            verified={"at": now},
        )
        Catalogue(self.store).add(image)
        Channels(self.store).promote("shop", "prod", image, by="tests")

    def start(self) -> subprocess.Popen[str]:
        """In a process group of its own."""
        argv = ["ansible-playbook", "-i", "localhost,", "swap.yml"]
        environment = {**os.environ, **self.cloud.environment()}
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def swap(self) -> str:
        """Return the output. Raises AssertionError if the playbook fails."""
        process = self.start()
        output, _none = process.communicate()
        assert process.returncode == 0, output
        return output

    def killed(self, nth: int, late: bool) -> bool:
        """Kill the process tree of a run at its nth change. Returns False if the run made fewer changes."""
        process = self.start()
        fault = self.cloud.kill_at_change(nth, -process.pid, late)
        process.communicate()
        self.cloud.faults.clear()
        return bool(fault.met)
