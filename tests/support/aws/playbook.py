# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet on AWS as a user has it: a definition, a store in a folder with promoted images, and ``ansible-playbook``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

from . import seeds
from .server import Cloud
from .service import SWAP, promote, write_service
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
        write_service(folder, self.net, self.balancer, self.amis[0], fleet={"size": SIZE, **fleet})
        self.watcher = PromiseWatcher(cloud, self.balancer.groups, self.rule, self.intent)
        cloud.proxy.layers.insert(1, self.watcher)

    def intent(self) -> dict[str, Any]:
        found = self.store.read("fleets/shop-prod/intent.json")
        return dict(found[0]) if found else {}

    def promote(self, number: int) -> None:
        """Promote the image of this number."""
        promote(self.store, self.amis[number], str(number))

    def start(self) -> subprocess.Popen[str]:
        """Start a run in its own process group. It waits for a line before it does anything."""
        environment = {**os.environ, **self.cloud.environment()}
        return subprocess.Popen(
            ["sh", "-c", 'read line; exec "$@"', "sh", *SWAP],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def swap(self) -> str:
        """Return the output. Raises AssertionError if the playbook fails."""
        process = self.start()
        output, _none = process.communicate("\n")
        assert process.returncode == 0, output
        return output

    def killed(self, nth: int, late: bool) -> bool:
        """Kill the process tree of a run at its nth change. Returns False if the run made fewer changes."""
        process = self.start()
        fault = self.cloud.kill_at_change(nth, -process.pid, late)
        process.communicate("\n")
        self.cloud.faults.clear()
        return bool(fault.met)
