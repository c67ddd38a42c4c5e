# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of the real HAProxy: only a service that answers gets traffic."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy import config
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.tests.support.backends import Backend, get
from ansible_collections.immutable.infra.tests.support.balancers import HTTP, passing, port_of, states
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until


def test_tcp_health_balances_connections(balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]) -> None:
    proxy = balancer(Health(tcp=TcpProbe(8080)))
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})
    assert proxy.describe()["endpoint"].startswith("tcp://127.0.0.1:")
    assert get(port_of(proxy)) == "shop-0"


def test_the_longest_timeout_is_possible(balancer: Callable[..., HAProxy]) -> None:
    assert balancer(replace(EXCHANGE, timeout=999_999_999.0)).ensure() is True


class Relay:
    """Accepts connections before the service behind it does, as QEMU's user network does.

    Attributes:
        answer: what the service answers to ``PING``; None if nothing listens, and the connection is closed.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.answer: bytes | None = None
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.address: tuple[str, int] = listening.getsockname()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _peer = listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while self.answer is not None and connection.recv(4096) == b"PING\n":
                connection.sendall(self.answer)


EXCHANGE = Health(tcp=TcpProbe(8080, send=b"PING\n".hex(), expect=b"PONG".hex()), timeout=1.0)


def exchange(port: int) -> bytes:
    """What a client of the balancer gets."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"PING\n")
            return connection.recv(4096)
        return b""


def test_what_the_network_accepts_for_a_service_that_is_down_gets_no_traffic(
    balancer: Callable[..., HAProxy], stack: ExitStack
) -> None:
    """The service starts, stops, and starts again, while the network always accepts."""
    proxy = balancer(EXCHANGE)
    proxy.ensure()
    shop, other = Relay(stack), Relay(stack)
    other.answer = b"+PONG other\n"
    proxy.register({"shop-0": shop.address, "shop-1": other.address})
    until(lambda: states(proxy) == {"shop-0": "down", "shop-1": "up"})
    until(lambda: all("INI" not in server.check for server in proxy._servers()))
    assert states(proxy) == {"shop-0": "down", "shop-1": "up"}
    assert {exchange(port_of(proxy)) for _connection in range(10)} == {b"+PONG other\n"}
    shop.answer = b"+PONG shop\n"
    until(lambda: states(proxy) == {"shop-0": "up", "shop-1": "up"})
    assert len({exchange(port_of(proxy)) for _connection in range(10)}) == 2
    for stopped in (None, b"-ERR loading\n"):
        shop.answer = stopped
        until(lambda: states(proxy) == {"shop-0": "down", "shop-1": "up"})
        assert {exchange(port_of(proxy)) for _connection in range(10)} == {b"+PONG other\n"}
        shop.answer = b"+PONG shop\n"
        until(lambda: states(proxy) == {"shop-0": "up", "shop-1": "up"})


def test_any_bytes_can_be_exchanged(balancer: Callable[..., HAProxy], stack: ExitStack) -> None:
    every = bytes(range(256))
    peer = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def answer() -> None:
        with suppress(OSError):
            while True:
                with peer.accept()[0] as connection:
                    received = b""
                    while len(received) < 256 and (part := connection.recv(4096)):
                        received += part
                    connection.sendall(b"before" + bytes(reversed(received)) + b"after")
                    connection.recv(1)

    threading.Thread(target=answer, daemon=True).start()
    proxy = balancer(Health(tcp=TcpProbe(8080, send=every.hex(), expect=bytes(reversed(every)).hex())))
    proxy.ensure()
    proxy.register({"shop-0": peer.getsockname()})
    until(lambda: states(proxy) == {"shop-0": "up"})


@pytest.mark.parametrize("health", [HTTP, EXCHANGE], ids=["http", "tcp"])
def test_a_new_member_gets_no_traffic_before_its_first_check_passes(
    balancer: Callable[..., HAProxy], stack: ExitStack, monkeypatch: pytest.MonkeyPatch, health: Health
) -> None:
    """Its first check begins much later than this test ends. The same holds if a member gets another address."""
    proxy = balancer(health)
    proxy.ensure()
    other = Relay(stack)
    monkeypatch.setattr(config, "CHECK", config.CHECK.replace("inter 100ms", "inter 1h"))
    for address in (Relay(stack).address, other.address):
        proxy.register({"shop-0": address})
        assert states(proxy) == {"shop-0": "down"}
        assert passing(proxy) == {"shop-0": False}
        assert [server.status for server in proxy._servers()] == ["DOWN"]
        assert exchange(port_of(proxy)).startswith((b"", b"HTTP/1.0 503"))
    proxy.register({"shop-1": other.address}, staged=True)
    assert [(server.status, server.draining) for server in proxy._servers()] == [("DOWN", False), ("DOWN", True)]
