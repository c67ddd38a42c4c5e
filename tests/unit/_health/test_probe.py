# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._health import deadline_socket
from ansible_collections.immutable.infra.plugins.plugin_utils._health import probe as probing
from ansible_collections.immutable.infra.plugins.plugin_utils._health.evidence import proves
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import Endpoints, probe_all
from ansible_collections.immutable.infra.plugins.plugin_utils._health.prober import (
    NetworkProber,
    health_of,
    health_tag,
    prober_for,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Evidence, Instance
from ansible_collections.immutable.infra.tests.support.held_time import HeldTime, hold_time
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HTTP = Health(http=HttpProbe(8080, "/healthz"), timeout=PATIENCE)


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({"/healthz": 200, "/moved": 302}.get(self.path, 500))
        self.send_header("Location", "/healthz")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address
    server.shutdown()
    thread.join()
    server.server_close()


def probed(endpoints: dict[str, Endpoints], health: Health, relayed: bool = False) -> dict[str, bool | str]:
    return probe_all({name: (ports, health) for name, ports in endpoints.items()}, relayed)


def tcp(timeout: float = PATIENCE, **texts: bytes) -> Health:
    return Health(tcp=TcpProbe(5432, **{name: text.hex() for name, text in texts.items()}), timeout=timeout)


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[str, int]]]:
    """Starts servers. Each calls a function with every connection that it accepts, and closes it afterward."""
    with ExitStack() as stack:
        ended = stack.enter_context(closing_event())

        def start(serve: Callable[[socket.socket], None]) -> tuple[str, int]:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))

            def handle(connection: socket.socket) -> None:
                with connection, suppress(OSError):
                    serve(connection)

            def accept() -> None:
                with suppress(OSError):
                    while not ended.is_set():
                        threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            return listening.getsockname()

        yield start


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldTime:
    """A connection is made in time, and only the answer is late."""
    return hold_time(monkeypatch, probing, deadline_socket)


@contextmanager
def closing_event() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def hold(connection: socket.socket) -> None:
    """Say nothing until the client closes the connection."""
    while connection.recv(4096):
        pass


def close(connection: socket.socket) -> None:
    """What QEMU's user network does with a connection if nothing listens in the guest."""


def test_each_instance_gets_its_own_result(service, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens here, and no other process can
        dead = {8080: taken.getsockname()}
        results = probed({"well": {8080: service}, "dead": dead, "elsewhere": {22: service}}, HTTP)
    assert results["well"] is True
    assert results["dead"] == "the connection to port 8080 failed: Connection refused"
    assert results["elsewhere"] == "port 8080 cannot be reached from here"


def test_the_longest_timeout_is_possible(service):
    assert probed({"i": {8080: service}}, replace(HTTP, timeout=999_999_999.0)) == {"i": True}


def test_a_redirect_or_an_error_is_not_health(service):
    for path, answer in (("/moved", 302), ("/broken", 500)):
        health = Health(http=HttpProbe(8080, path), timeout=PATIENCE)
        assert probed({"i": {8080: service}}, health) == {"i": f"GET {path} answered {answer} (expected: 200)"}
    health = Health(http=HttpProbe(8080, "/moved", (200, 302)), timeout=PATIENCE)
    assert probed({"i": {8080: service}}, health) == {"i": True}


def test_a_port_that_accepts_and_never_answers_fails_by_the_timeout(peer, held):
    silent = peer(hold)
    results = probed({"i": {8080: silent}}, Health(http=HttpProbe(8080), timeout=0.2))
    assert results == {"i": "no answer within 0.2 s"}
    assert probed({"i": {5432: silent}}, tcp()) == {"i": True}, "the network is honest: the service accepted it"


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize(
    ("health", "closed"),
    [
        (HTTP, "the connection to port 8080 failed: (Remote end closed|Connection reset)"),
        (
            tcp(expect=b"SSH-2.0"),
            "port 5432 closed the connection without an answer|the connection to port 5432 failed: Connection reset",
        ),
        (
            tcp(send=b"ping", expect=b"pong"),
            "port 5432 closed the connection without an answer|the connection to port 5432 failed: Connection reset",
        ),
    ],
    ids=["http", "banner", "exchange"],
)
def test_a_network_that_accepts_for_a_dead_guest_is_not_health(peer, held, health, closed, relayed):
    """Both what QEMU's user network does if nothing listens, and what it does if the guest is not there."""
    ports = health.ports
    refused = probed({"i": dict.fromkeys(ports, peer(close))}, health, relayed)["i"]
    assert re.match(closed, refused)
    silent = probed({"i": dict.fromkeys(ports, peer(hold))}, replace(health, timeout=0.2), relayed)["i"]
    assert silent == "no answer within 0.2 s"


def test_a_connection_through_a_relay_proves_nothing(peer, service, monkeypatch):
    """Beside an HTTP probe, it must at least stay open."""
    accepting, closing = peer(hold), peer(close)
    assert "proves nothing" in probed({"i": {5432: accepting}}, tcp(), relayed=True)["i"]
    both = replace(tcp(), http=HTTP.http)
    assert probed({"open": {8080: service, 5432: accepting}}, both, relayed=True) == {"open": True}
    # On a busy machine, the server's thread may need longer than QEMU to close the connection.
    monkeypatch.setattr(probing, "REFUSAL", PATIENCE)
    closed = probed({"closed": {8080: service, 5432: closing}}, both, relayed=True)["closed"]
    assert "the connection to port 5432 failed: " in closed or "closed the connection" in closed


def test_expected_bytes_count_anywhere_in_the_answer_and_in_any_pieces(peer, held):
    def answer(connection: socket.socket) -> None:
        assert connection.recv(4096) == b"\x00\xff"
        for piece in (b"hello, \x00wor", b"l", b"d\xfe, and more"):
            connection.sendall(piece)
        hold(connection)

    endpoints = {"i": {5432: peer(answer)}}
    assert probed(endpoints, tcp(send=b"\x00\xff", expect=b"\x00world\xfe")) == {"i": True}
    other = probed(endpoints, tcp(timeout=0.2, send=b"\x00\xff", expect=b"world\x00"))
    assert other == {"i": "no answer within 0.2 s"}


def test_an_answer_is_bounded(peer):
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x" * 4096)

    endpoints = {"i": {5432: peer(flood), 8080: peer(flood)}}
    assert probed(endpoints, tcp(expect=b"y")) == {"i": "the answer has more than 16384 bytes"}
    answer = probed(endpoints, HTTP)["i"]
    assert answer.startswith(("LineTooLong", "the answer has more than 65536 bytes"))


HEADERS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 ",
        b"HTTP/0.9 200\n",
        b"Content-Length: ",
        b"\r\n",
    ]
    + [b"Transfer-Encoding: chunked\r\n", b"Content-Type: \xff=?utf-8?q?=00?=\r\n", b"9" * 5000]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=40) | HEADERS, max_size=8), exchanged=st.booleans())
def test_no_answer_raises(peer_of_bytes, parts, exchanged):
    """Each answer leads to True or to a short reason."""
    health = tcp(expect=b"200") if exchanged else HTTP
    result = probed({"i": dict.fromkeys((8080, 5432), peer_of_bytes(b"".join(parts)))}, health)["i"]
    assert result is True or (isinstance(result, str) and 0 < len(result) <= 200)


@pytest.fixture
def peer_of_bytes(peer) -> Callable[[bytes], tuple[str, int]]:
    """One server, which answers every connection with the bytes that were given last."""
    answers: list[bytes] = [b""]

    def answer(connection: socket.socket) -> None:
        connection.sendall(answers[-1])
        connection.shutdown(socket.SHUT_WR)
        hold(connection)

    address = peer(answer)

    def given_bytes(octets: bytes) -> tuple[str, int]:
        answers[:] = [octets]
        return address

    return given_bytes


@pytest.mark.parametrize("health", [HTTP, tcp(expect=b"end")], ids=["http", "tcp"])
def test_a_server_that_trickles_does_not_hold_a_probe(peer, held, health):
    """Its answer is right, but it sends a byte at a time, for longer than the probe waits."""
    never = threading.Event()

    def trickle(connection: socket.socket) -> None:
        held.run()
        for byte in b"HTTP/1.1 200 OK\r\nX-Trickle: " + b"x" * 300 + b"\r\n\r\nend":
            connection.sendall(bytes([byte]))
            never.wait(0.02)
        hold(connection)

    endpoints = {"i": {8080: peer(trickle), 5432: peer(trickle)}}
    assert probed(endpoints, replace(health, timeout=0.5)) == {"i": "no answer within 0.5 s"}


def test_all_instances_are_probed_at_the_same_time(peer):
    """Whatever their health settings are: each server answers only once all of them are asked."""
    everyone = threading.Barrier(80)

    def answer(connection: socket.socket) -> None:
        everyone.wait(PATIENCE)
        connection.sendall(b"SSH-2.0-test\r\n")
        hold(connection)

    address = peer(answer)
    instances = [
        replace(
            instance(endpoints={5432: address}),
            id=str(number),
            tags={"health": health_tag(tcp(timeout=PATIENCE + number % 4, expect=b"SSH-2.0"))},
        )
        for number in range(80)
    ]
    assert NetworkProber(HTTP)(instances) == {str(number): True for number in range(80)}


def instance(**changes) -> Instance:
    fields = {"image": "sha256:1", "nonce": "n", "evidence": Evidence("sha256:1", "n", "", "off"), **changes}
    return Instance(id="i", fleet="f", slot=0, launch="l", state="running", purpose="fleet", created=0.0, **fields)


def test_an_instance_is_probed_by_the_health_settings_it_was_launched_with(service):
    old = instance(endpoints={8080: service}, tags={"health": health_tag(HTTP)})
    assert NetworkProber(Health(http=HttpProbe(9090, "/new")))([old]) == {"i": True}
    assert NetworkProber(HTTP)([instance(endpoints={8080: service}, tags={"health": "{"})]) == {"i": True}


@pytest.mark.parametrize(
    "tag",
    [
        "[" * 2000,
        "null",
        '{"http": {"port": "8080", "path": "/", "status": [200]}, "tcp": null}',
        '{"http": {"port": 8080, "path": "/\\r\\nX: y", "status": [200]}, "tcp": null}',
        '{"http": {"port": 8080, "path": "/", "status": [200]}, "tcp": null, "timeout": "long"}',
        '{"http": null, "tcp": {"port": 8080, "expect": "not hexadecimal"}}',
        '{"http": null, "tcp": null}',
        '{"http": {"port": 8080, "path": "/", "status": [200]}, "tcp": null, "timeout": 1e999}',
        '{"http": {"port": 8080, "path": "/", "status": [200]}, "tcp": null, "timeout": NaN}',
    ],
)
def test_a_tag_that_no_definition_writes_is_ignored(service, tag):
    assert NetworkProber(HTTP)([instance(endpoints={8080: service}, tags={"health": tag})]) == {"i": True}


def test_a_tag_of_an_earlier_version_stays_as_it_was():
    health = Health(tcp=TcpProbe(22))
    text = '{"boot_deadline": 300.0, "deadline": 120.0, "http": null, "tcp": {"port": 22}, "timeout": 5.0}'
    assert health_tag(health) == text
    assert health_of(instance(tags={"health": text}), HTTP) == health
    both = tcp(send=b"\x00", expect=b"\xff")
    assert health_of(instance(tags={"health": health_tag(both)}), HTTP) == both


def test_behind_a_relay_an_instance_that_was_launched_without_expect_is_judged_by_the_definition(peer):
    old = instance(endpoints={5432: peer(close)}, tags={"health": health_tag(tcp())})
    new = tcp(expect=b"SSH-2.0")
    qemu, aws = (prober_for(SimpleNamespace(name=name, probe=None), new) for name in ("qemu", "aws"))
    assert qemu([old])["i"] is not True
    assert aws([old]) == {"i": True}, "its network is honest"


def test_only_evidence_of_this_image_and_this_launch_proves():
    assert proves(instance()) is True
    assert proves(instance(evidence=None)) == "it has not sealed itself yet"
    assert "nonce" in proves(instance(nonce="another"))
    assert "sha256:2" in proves(instance(image="sha256:2"))
