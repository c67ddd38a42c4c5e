# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections through a real program, as Packer makes them by SOCKS."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.ssh_relay import SshRelay
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.ssh_proxy import proxy_command
from ansible_collections.immutable.infra.tests.support import proxy_program


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        yield listening


def connect(settings: dict[str, Any], host: str, port: int, password: str = "") -> tuple[socket.socket, bytes]:
    """Ask the proxy for a connection. Return the socket and the last answer."""
    client = socket.create_connection((settings["ssh_proxy_host"], settings["ssh_proxy_port"]), 60)
    user, secret = settings["ssh_proxy_username"].encode(), (password or settings["ssh_proxy_password"]).encode()
    client.sendall(b"\x05\x01\x02")
    assert client.recv(2) == b"\x05\x02"
    client.sendall(b"\x01" + bytes((len(user),)) + user + bytes((len(secret),)) + secret)
    answer = client.recv(2)
    if answer == b"\x01\x00":
        name = host.encode()
        client.sendall(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big"))
        answer = client.recv(10)
    return client, answer


def test_bytes_go_both_ways_through_the_program(server: socket.socket, tmp_path: Path) -> None:
    port, seen = server.getsockname()[1], tmp_path / "arguments"
    arguments = [sys.executable, proxy_program.__file__, str(seen), "{host}", "{port}", "--id={instance_id}", "a b"]
    relay = SshRelay(lambda host, at: proxy_command(arguments, host, at, "i-1"))
    with relay.running():
        client, answer = connect(relay.settings, "127.0.0.1", port)
        assert answer[:2] == b"\x05\x00"
        peer, _address = server.accept()
        with client, peer:
            client.sendall(b"SSH-2.0-client\r\n")
            assert peer.recv(100) == b"SSH-2.0-client\r\n"
            peer.sendall(b"SSH-2.0-server\r\n")
            assert client.recv(100) == b"SSH-2.0-server\r\n"
            peer.close()
            assert client.recv(100) == b""
    assert json.loads(seen.read_text()) == ["127.0.0.1", str(port), "--id=i-1", "a b"]


def test_only_who_knows_the_password_starts_a_program(tmp_path: Path) -> None:
    relay = SshRelay(lambda *_place: pytest.fail("a program was started"))
    with relay.running():
        client, answer = connect(relay.settings, "127.0.0.1", 22, password="wrong")  # noqa: S106
        with client:
            assert answer == b"\x01\x01" and client.recv(1) == b""


def test_programs_end_with_the_relay_and_a_refusal_is_told(server: socket.socket, tmp_path: Path) -> None:
    arguments = [sys.executable, proxy_program.__file__, str(tmp_path / "arguments"), "{host}", "{port}"]

    def command(host: str, port: int) -> list[str]:
        if host == "other":
            raise BakeError("other is not a build machine")
        return proxy_command(arguments, host, port, "i-1")

    relay = SshRelay(command)
    with relay.running():
        refused, answer = connect(relay.settings, "other", 22)
        refused.close()
        assert answer[:2] == b"\x05\x01" and relay.problem.endswith("did not start: other is not a build machine")
        client, _answer = connect(relay.settings, "127.0.0.1", server.getsockname()[1])
        peer, _address = server.accept()
    with client, peer:
        peer.settimeout(60)
        assert peer.recv(1) == b""
    with pytest.raises(OSError, match="refused|closed|descriptor"):
        connect(relay.settings, "other", 22)
