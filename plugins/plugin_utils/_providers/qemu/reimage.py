# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot stopped virtual machines from another image, with their ports and volumes.

``machine.json`` says in one write what a machine is to run. Its previous disk is an image, which stays while this
document names it. Nothing is copied.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..._core.errors import ProviderError
from ..._core.files import write_atomically
from .. import tags as tag_names
from ..contract import STOPPED, Instance, InstanceState, LaunchRequest
from ..guest_document import launch_document, members
from ..guest_network import check_reach
from ..machine_document import LAUNCH, NEXT_LAUNCH
from ..root_state import REQUESTED
from .machine import MachineFolder


class Machines(Protocol):
    """What the provider offers."""

    def find(self, instance_id: str) -> MachineFolder | None:
        """The machine, or None if there is none."""

    def boot(self, machine: MachineFolder, keep_ports: bool = False) -> None:
        """Boot it with its volumes. Has no effect if it is running."""


class QemuReimager:
    """See ``contract.Reimager``."""

    replaces_in: InstanceState = STOPPED

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def check(self, instances: Sequence[Instance], wanted: Sequence[LaunchRequest]) -> None:  # noqa: ARG002  all alike
        """Settings and the machine's own settings may change: the guest reads them when it boots."""
        for request in wanted:
            _disk_of(request)

    def reimage(self, requests: Mapping[str, LaunchRequest]) -> None:
        """Refuses a machine that runs."""
        for instance_id, request in requests.items():
            machine = self._machines.find(instance_id)
            facts = machine.facts() if machine else None
            if machine and facts:
                self._reimage(machine, facts, request)

    def release(self, ids: Sequence[str]) -> None:
        for machine in filter(None, map(self._machines.find, ids)):
            machine.update(previous={})

    def _reimage(self, machine: MachineFolder, facts: Mapping[str, Any], request: LaunchRequest) -> None:
        if _version(facts) != _requested(request):
            if machine.pid() is not None:
                raise ProviderError(f"machine {machine.id} runs, and only a stopped one boots from another image")
            _record(machine, facts, request)
        elif facts.get("root_change") != REQUESTED:
            return
        self._machines.boot(machine, keep_ports=True)
        if (machine.folder / NEXT_LAUNCH).exists():
            os.replace(machine.folder / NEXT_LAUNCH, machine.folder / LAUNCH)
        machine.update(root_change="")


def _record(machine: MachineFolder, facts: Mapping[str, Any], request: LaunchRequest) -> None:
    disk, reach = _disk_of(request), dict(request.machine.get("reach", {}))
    check_reach(reach)
    write_atomically(machine.folder / NEXT_LAUNCH, launch_document(members(request)))
    requested = facts.get("root_change") == REQUESTED
    now, ports = time.time(), [str(port) for port in request.ports]
    machine.update(
        image=request.image,
        launch=request.launch,
        nonce=request.nonce,
        tags={**dict.fromkeys(tag_names.MARKS), **request.tags},
        disk=disk,
        ports=ports,
        endpoints={port: number for port, number in facts.get("endpoints", {}).items() if port in ports},
        memory=request.machine["memory"],
        cpus=request.machine["cpus"],
        reach=reach,
        created=now,
        started=now,
        stopping=0.0,
        previous=facts.get("previous", {}) if requested else {"image": facts["image"], "disk": facts["disk"]},
        root_change=REQUESTED,
    )


def _disk_of(request: LaunchRequest) -> str:
    disk = str(request.artifact["path"])
    if not os.path.exists(disk):
        raise ProviderError(f"the image's disk is missing: {disk} (bake it again)")
    return disk


def _version(facts: Mapping[str, Any]) -> tuple[str, ...]:
    tags = facts.get("tags", {})
    return facts.get("image", ""), facts.get("launch", ""), *_serials(tags)


def _requested(request: LaunchRequest) -> tuple[str, ...]:
    return request.image, request.launch, *_serials(request.tags)


def _serials(tags: Mapping[str, str]) -> tuple[str, str]:
    return tags.get(tag_names.SWAP, ""), tags.get(tag_names.ATTEMPT, "")
