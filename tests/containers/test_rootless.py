# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything from the bake to a swap without root: as a user whose containers are in a namespace of its own."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import INSTALL, TOKEN, Service
from ansible_collections.immutable.infra.tests.support.ordinary_user import OrdinaryUser, ordinary_user
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

pytestmark = pytest.mark.long
# Files of another user of the container, in a folder that is the machine's.
LEAVE = """
    - name: Create a folder of another user
      ansible.builtin.file:
        path: /dev/shm/left
        state: directory
        owner: nobody
        mode: "0700"
    - name: Leave a file in it
      ansible.builtin.copy:
        content: left
        dest: /dev/shm/left/file
        owner: nobody
        mode: "0600"
"""


@pytest.fixture
def user(room: Path) -> OrdinaryUser:
    return ordinary_user(room)


@pytest.fixture
def service(room: Path, user: OrdinaryUser, store: Path, base: None) -> Iterator[Service]:
    """Two slots with data, which only their user can see."""
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    own = room / "store"
    own.mkdir(mode=0o700)
    shutil.copytree(store / "bases", own / "bases")
    user.give(own)
    running = Service(
        room / "definition/service",
        "rootless",
        size=2,
        shell="off",
        data=True,
        store=own,
        provider="container",
        command=True,
    )
    running.prefix = user.prefix
    provision = running.folder / "provision.yml"
    provision.write_text(INSTALL.replace("  tasks:\n", f"  tasks:{LEAVE.rstrip()}\n"), encoding="utf-8")
    user.give(room / "definition")
    yield running
    running.remove()


def asked(endpoint: str, path: str, body: bytes | None = None) -> bytes:
    """What the load balancer answers."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST" if body is not None else "GET", path, body=body)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_release_a_swap_and_a_killed_bake_without_root(service: Service, user: OrdinaryUser) -> None:
    service.kill_while_playing("bake", "task: Install its program", tree=True)
    service.play("release")
    fleet = service.module("fleet_info")
    assert fleet["rootless"] and fleet["serving"] == 2
    assert asked(fleet["endpoint"], "/healthz") == b"hello"
    asked(fleet["endpoint"], "/words", b"kept;")
    service.greet("without root")
    service.play("swap")
    fleet = service.module("fleet_info")
    assert asked(fleet["endpoint"], "/healthz") == b"without root"
    assert b"kept;" in {asked(fleet["endpoint"], "/words") for _each in range(4)}
    assert "changed=0" in service.play("swap")
    assert [path for path in Path("/dev/shm").glob("immutable-*-bake-*") if path.stat().st_uid == user.number] == []
