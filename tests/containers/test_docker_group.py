# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A user of the group docker, without root: bakes and swaps work, and one line says what such a user can do."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.docker_daemon import docker_daemon
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service
from ansible_collections.immutable.infra.tests.support.ordinary_user import FIRST, ordinary_user

pytestmark = pytest.mark.long
GROUP = FIRST - 1
GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())"


@pytest.fixture
def service(room: Path, store: Path, base: None) -> Iterator[Service]:
    """Two containers of a Docker that the user's group may use, in a network that they share with nothing else."""
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    user = ordinary_user(room, [GROUP])
    own = room / "store"
    own.mkdir(mode=0o700)
    for name in ("bases", "cache"):  # the network leads nowhere
        shutil.copytree(store / name, own / name)
    user.give(own)
    with docker_daemon(room / "docker", GROUP) as daemon, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.address)
        running = Service(
            room / "definition/service",
            "grouped",
            size=2,
            shell="restricted",
            data=False,
            store=own,
            provider="docker",
            command=True,
        )
        running.prefix = [*daemon.prefix, *user.prefix]
        user.give(room / "definition")
        yield running
        running.remove()


def greeting(service: Service, endpoint: str) -> str:
    """What the load balancer answers."""
    command = [*service.prefix, "python3", "-c", GET, endpoint]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_killed_bake_a_release_and_a_swap(service: Service) -> None:
    service.kill_while_playing("bake", "task: Install its program", tree=True)
    service.play("release")
    fleet = service.module("fleet_info")
    assert (fleet["rootless"], fleet["serving"]) == (False, 2)
    warnings = " ".join(fleet["warnings"])
    assert "the rights of root" in warnings and "reach every network" in warnings
    assert greeting(service, fleet["endpoint"]) == "hello"
    service.greet("of the group")
    service.play("swap")
    assert greeting(service, service.module("fleet_info")["endpoint"]) == "of the group"
    service.define(settings={"broken": "yes"}, deadline=service.lab.short_deadline)
    assert "answered 500" in service.play("swap", check=False)
    assert greeting(service, service.module("fleet_info")["endpoint"]) == "of the group"
