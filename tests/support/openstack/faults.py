# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of a real control plane: a service that hangs, a hypervisor that is lost, a volume that is stuck."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .projects import Connection, Project

JOIN = Path("tests/openstack/control_plane/join")  # the fixtures of tests/openstack say where that is
FORCED_DOWN = "2.53"


def signal(service: str, name: str) -> None:
    """Send a signal to all processes of a service, as ``control_plane/services`` names it."""
    subprocess.run([JOIN, "--inside", "service", service, name], check=True, stdin=subprocess.DEVNULL)


@contextmanager
def hanging(*services: str) -> Iterator[None]:
    """The services neither answer nor refuse. What was sent to them they do afterwards."""
    for service in services:
        signal(service, "STOP")
    try:
        yield
    finally:
        for service in services:
            signal(service, "CONT")


@contextmanager
def lost_hypervisor(admin: Connection, host: str) -> Iterator[None]:
    """The host of these servers is down, and an administrator has told Nova so."""
    [service] = [each for each in admin.compute.services() if (each.binary, each.host) == ("nova-compute", host)]

    def tell(down: bool) -> None:
        answer = admin.compute.put(f"/os-services/{service.id}", json={"forced_down": down}, microversion=FORCED_DOWN)
        assert answer.ok, answer.text

    with hanging(f"nova-{host}"):
        tell(True)
        try:
            yield
        finally:
            tell(False)


@contextmanager
def stuck_volume(project: Project, volume_id: str, status: str = "detaching") -> Iterator[None]:
    """The volume stays in this state until an administrator resets it."""
    states = project.admin.block_storage
    before = states.get_volume(volume_id).status
    states.reset_volume_status(volume_id, status, None, None)
    try:
        yield
    finally:
        states.reset_volume_status(volume_id, before, None, None)
