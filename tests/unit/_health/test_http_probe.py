# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an HTTP probe sends, and what it expects of the answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import (
    MAX_BODY,
    Health,
    HttpProbe,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._health import deadline_socket
from ansible_collections.immutable.infra.plugins.plugin_utils._health import probe as probing
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.tests.support.certificates import TlsServer, http_server
from ansible_collections.immutable.infra.tests.support.held_time import hold_time
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsServer]:
    with http_server(tmp_path, None) as each:
        yield each


def probed(address: tuple[str, int], timeout: float = PATIENCE, **fields: object) -> bool | str:
    return probe({8080: address}, Health(http=HttpProbe(8080, "/healthz", **fields), timeout=timeout))


def test_headers_replace_those_of_the_probe(server: TlsServer) -> None:
    assert probed(server.address) is True
    own = (("Host", "shop.example.com"), ("user-agent", "a b"), ("X-Token", "%$'\"\\"))
    assert probed(server.address, headers=own) is True
    (_line, before), (_same, after) = server.requests
    assert before["host"] == f"127.0.0.1:{server.address[1]}" and before["user-agent"] == "immutable-probe"
    assert (after["host"], after["user-agent"], after["x-token"]) == ("shop.example.com", "a b", "%$'\"\\")


def test_head_gets_no_body(server: TlsServer) -> None:
    assert probed(server.address, method="HEAD") is True
    assert server.requests[0][0] == "HEAD /healthz HTTP/1.1"
    server.status = 503
    assert probed(server.address, method="HEAD") == "HEAD /healthz answered 503 (expected: 200)"


def test_a_range_of_status_codes(server: TlsServer) -> None:
    wanted = ("200-299", 418)
    for status, expected in ((200, True), (299, True), (418, True), (300, False), (417, False)):
        server.status = status
        result = probed(server.address, status=wanted)
        assert result == (expected or f"GET /healthz answered {status} (expected: 200-299, 418)")


@given(first=st.integers(100, 599), last=st.integers(100, 599), status=st.integers(0, 999))
def test_a_range_accepts_exactly_its_codes(first: int, last: int, status: int) -> None:
    assert HttpProbe(1, status=(f"{first}-{last}",)).accepts(status) is (first <= status <= last)


def test_the_body_must_contain_the_text(server: TlsServer) -> None:
    server.body = '{"state": "größer"}'.encode()
    assert probed(server.address, contains='"größer"') is True
    assert probed(server.address, contains="ready") == (
        "GET /healthz answered 200, but its body lacks 'ready'; it begins with '{\"state\": \"größer\"}'"
    )
    server.body = b""
    assert probed(server.address, contains="ready") == (
        "GET /healthz answered 200, but its body lacks 'ready'; it is empty"
    )


def test_only_the_first_bytes_of_a_body_count(server: TlsServer) -> None:
    for before, expected in ((MAX_BODY - 5, True), (MAX_BODY - 4, False), (10 * MAX_BODY, False)):
        server.body = b"." * before + b"ready" + b"." * MAX_BODY
        assert (probed(server.address, contains="ready") is True) is expected


def test_what_a_guest_answers_is_shown_without_escapes_and_in_part(server: TlsServer) -> None:
    server.body = b"\x1b]0;title\x07\x1b[31mred\x1b[0m\nnext \xff line" + b"x" * 1000
    result = str(probed(server.address, contains="ready"))
    assert result.endswith("it begins with '" + ("red next \ufffd line" + "x" * 100)[:60] + "'")


@pytest.fixture
def raw() -> Iterator[Callable[[bytes], tuple[str, int]]]:
    """Servers that answer the first connection with these bytes, one at a time at last, and leave it open."""
    ended = threading.Event()
    with ExitStack() as stack:

        def start(octets: bytes, slow: bytes = b"", begins: Callable[[], None] = lambda: None) -> tuple[str, int]:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with suppress(OSError), listening.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(octets)
                    begins()
                    for byte in slow:
                        connection.sendall(bytes([byte]))
                        ended.wait(0.02)
                    ended.wait(PATIENCE)

            threading.Thread(target=serve, daemon=True).start()
            return listening.getsockname()

        yield start
        ended.set()


def test_a_body_in_chunks_or_without_a_length_counts_as_soon_as_it_is_there(
    raw: Callable[..., tuple[str, int]],
) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nis r\r\n5\r\neady.\r\n"
    endless = b"HTTP/1.1 200 OK\r\n\r\nis ready."
    for answer in (chunked, endless):
        assert probed(raw(answer), contains="ready") is True


def test_a_trickling_body_does_not_hold_a_probe(
    raw: Callable[..., tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold_time(monkeypatch, probing, deadline_socket)
    address = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"." * 5000, held.run)
    assert probed(address, timeout=0.5, contains="ready") == "no answer within 0.5 s"


def test_a_broken_answer_is_shown_without_escapes(raw: Callable[..., tuple[str, int]]) -> None:
    result = str(probed(raw(b"\x1b[31mnot HTTP\x1b[0m\r\n\r\n")))
    assert "not HTTP" in result and "\x1b" not in result


def test_an_ipv6_address_is_asked_by_http_and_by_tcp(tmp_path: Path) -> None:
    with http_server(tmp_path, None, "::1") as server:
        assert probed(server.address) is True
        assert server.requests[0][1]["host"] == f"[::1]:{server.address[1]}"
        exchange = TcpProbe(8080, send=b"GET / HTTP/1.0\r\n\r\n".hex(), expect=b"all is well".hex())
        assert probe({8080: server.address}, Health(tcp=exchange, timeout=PATIENCE)) is True
