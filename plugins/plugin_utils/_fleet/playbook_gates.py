# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gates of a swap: playbooks run as a child ansible-playbook, metrics come from a command or a URL.

A playbook may take longer than the lease lasts, so the lease is renewed while it runs. If the lease is lost, the
playbook is terminated.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._core.errors import GateError
from .._core.progress import Report
from .._definition.model import Definition, Metric
from .._health.metric_sources import read_metric
from .._hosts.inventory import Host, list_hosts
from .._hosts.playbook import PlaybookRun
from .._providers.contract import Instance, Provider
from .._store.base import Store
from .actions import Gate
from .lease import Lease
from .model import Intent

STAGE, FLEET = "immutable_stage", "immutable_fleet"  # groups of the inventory
VARIABLE = "immutable_swap"  # the variable that tells a playbook about the swap


class PlaybookGates:
    """The gates of one fleet.

    Args:
        provider: None if this collection does not manage the traffic.
        lease: renewed while a gate runs, if it is held.
    """

    def __init__(
        self,
        definition: Definition,
        target: str,
        *,
        store: Store,
        provider: Provider | None,
        run: PlaybookRun,
        lease: Lease,
        report: Report,
    ) -> None:
        self._definition = definition
        self._target = definition.target(target)
        self._store = store
        self._provider = provider
        self._run = replace(run, what="the playbook", error=GateError, meanwhile=self._renew_lease)
        self._lease = lease
        self._report = report

    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None:
        hosts = list_hosts(self._definition, self._target.name, self._store, instances, due=intent.image)
        stage = [host.name for host in hosts if _in_stage(host, gate, intent)]
        if gate.slots and not stage:  # a play without hosts would pass
            slots, image = ", ".join(map(str, gate.slots)), intent.image_name or intent.image
            raise GateError(f"no host of slot {slots} runs {image}, so there is nothing to check")
        with tempfile.TemporaryDirectory(prefix="immutable-gate-") as folder:
            playbook, timeout = self._definition.folder / gate.playbook, self._target.fleet.playbook_timeout
            self._run(
                playbook,
                inventory_of(hosts, stage),
                workdir=Path(folder),
                timeout=timeout,
                report=self._report,
                variables={VARIABLE: self._facts(gate, intent)},
            )

    def read(self, metric: Metric) -> str:
        """Read the metric. If the source does not answer, it is asked once more at once."""
        reading = read_metric(metric, self._definition.folder, self._renew_lease)
        if not reading.answered:
            reading = read_metric(metric, self._definition.folder, self._renew_lease)
        return reading.problem

    def _renew_lease(self) -> None:
        if self._lease.epoch:
            self._lease.need(0.0)

    def _facts(self, gate: Gate, intent: Intent) -> dict[str, Any]:
        origin = intent.origin
        traffic = self._provider.traffic(intent.fleet).describe() if self._provider else {}
        return {
            "fleet": intent.fleet,
            "service": self._definition.service,
            "target": self._target.name,
            "strategy": intent.strategy,
            "gate": gate.name,
            "image": intent.image,
            "image_name": intent.image_name,
            "from_image": origin.image if origin else "",
            "from_image_name": origin.image_name if origin else "",
            "size": intent.size,
            "endpoint": traffic.get("endpoint") or "",
        }


def _in_stage(host: Host, gate: Gate, intent: Intent) -> bool:
    facts = host.variables
    version = (facts["immutable_image"], facts["immutable_launch"])
    return facts["immutable_slot"] in gate.slots and version == (intent.image, intent.launch)


def inventory_of(hosts: Sequence[Host], stage: Sequence[str]) -> Mapping[str, Any]:
    """The inventory of a gate's playbook, as in a YAML inventory.

    It has this machine, and the fleet's hosts in the groups of the inventory plugin and in the two groups of a gate.
    """
    groups: dict[str, dict[str, Any]] = {
        FLEET: {"hosts": {host.name: dict(host.variables) for host in hosts}},
        STAGE: {"hosts": dict.fromkeys(stage)},
    }
    for host in hosts:
        for group in host.groups:
            groups.setdefault(re.sub(r"\W", "_", group), {"hosts": {}})["hosts"][host.name] = None
    here = {"ansible_connection": "ansible.builtin.local", "ansible_python_interpreter": sys.executable}
    return {"all": {"hosts": {"localhost": here}, "children": groups}}
