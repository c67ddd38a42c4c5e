# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probes through QEMU's own user network, to a guest that is not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import (
    Health,
    HttpProbe,
    Https,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._health import deadline_socket
from ansible_collections.immutable.infra.plugins.plugin_utils._health import probe as probing
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.tests.support.guests import free_port
from ansible_collections.immutable.infra.tests.support.held_time import hold_time
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="QEMU is not installed")


@pytest.fixture
def forwarded() -> Iterator[tuple[str, int]]:
    """An address that QEMU forwards to a guest. The guest has no processor and never answers."""
    address = ("127.0.0.1", free_port())
    network = f"user,id=net,restrict=on,hostfwd=tcp:{address[0]}:{address[1]}-:8080"
    machine = [str(QEMU), "-machine", "none", "-nodefaults", "-display", "none", "-S", "-netdev", network]
    with subprocess.Popen(machine, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as qemu:
        try:
            until(lambda: accepts(address))
            assert qemu.poll() is None, "the port was taken"
            yield address
        finally:
            qemu.kill()


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "health",
    [
        Health(http=HttpProbe(8080), timeout=0.5),
        Health(http=HttpProbe(8080, https=Https("shop.example.com")), timeout=0.5),
        Health(tcp=TcpProbe(8080, expect=b"SSH-2.0".hex()), timeout=0.5),
        Health(tcp=TcpProbe(8080, send=b"PING".hex(), expect=b"PONG".hex()), timeout=0.5),
    ],
    ids=["http", "https", "banner", "exchange"],
)
def test_a_guest_that_is_not_there_is_not_healthy(
    forwarded: tuple[str, int], monkeypatch: pytest.MonkeyPatch, health: Health
) -> None:
    hold_time(monkeypatch, probing, deadline_socket)
    assert probe({8080: forwarded}, health, relayed=True) == "no answer within 0.5 s"


def test_a_connection_to_it_succeeds_and_does_not_count(forwarded: tuple[str, int]) -> None:
    plain = Health(tcp=TcpProbe(8080), timeout=PATIENCE)
    assert probe({8080: forwarded}, plain) is True
    assert "proves nothing" in str(probe({8080: forwarded}, plain, relayed=True))
