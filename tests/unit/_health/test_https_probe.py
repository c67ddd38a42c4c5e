# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTPS probes against real servers: no certificate of the guest's own choosing passes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, Https
from ansible_collections.immutable.infra.plugins.plugin_utils._health import deadline_socket, http_exchange
from ansible_collections.immutable.infra.plugins.plugin_utils._health import probe as probing
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.tests.support.certificates import (
    NAME,
    Identity,
    TlsServer,
    http_server,
    issue,
)
from ansible_collections.immutable.infra.tests.support.held_time import hold_time
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

CA = issue("Example CA", ca=True)
OTHER_CA = issue("Example CA", ca=True)  # the same name, another key
GOOD = issue("good", CA, names=[NAME])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., TlsServer]]:
    with ExitStack() as stack:
        yield lambda identity, host="127.0.0.1": stack.enter_context(http_server(tmp_path, identity, host))


def https(timeout: float = PATIENCE, **fields: object) -> Health:
    settings = {"server_name": NAME, "ca": CA.pem, **fields}
    return Health(http=HttpProbe(8443, "/healthz", https=Https(**settings)), timeout=timeout)


def probed(server: TlsServer, health: Health) -> bool | str:
    return probe({8443: server.address}, health)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_certificate_of_the_given_ca_for_the_given_name_passes(serve: Callable[..., TlsServer], host: str) -> None:
    server = serve(GOOD, host)
    assert probed(server, https()) is True
    (line, headers), *more = server.requests
    assert (line, headers["host"], more) == ("GET /healthz HTTP/1.1", NAME, [])


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        (issue("expired", CA, names=[NAME], days=-1), "certificate has expired"),
        (issue("other name", CA, names=["other.example.com"]), "Hostname mismatch"),
        (issue("no name", CA), "Hostname mismatch"),
        (issue(NAME, CA), "Hostname mismatch"),  # the common name alone does not count
        (issue("self-signed", names=[NAME]), "self-signed certificate"),
        (issue("other CA", OTHER_CA, names=[NAME]), "certificate"),
        (issue("signed by a certificate that is no CA", GOOD, names=[NAME]), "unable to get local issuer certificate"),
    ],
    ids=lambda each: each.certificate.subject.rfc4514_string() if isinstance(each, Identity) else "",
)
def test_other_certificates_do_not_pass(serve: Callable[..., TlsServer], identity: Identity, problem: str) -> None:
    server = serve(identity)
    result = str(probed(server, https()))
    assert result.startswith("its certificate is not accepted: ")
    assert problem.replace("-", " ") in result.replace("-", " ")  # OpenSSL 1.1 writes "self signed"
    assert server.requests == []
    assert probed(server, https(verify=False, ca="", server_name="")) is True


@pytest.fixture
def _no_contexts() -> Iterator[None]:
    """The CAs of the system are read once in a process, perhaps by another test."""
    http_exchange._context.cache_clear()
    yield
    http_exchange._context.cache_clear()


@pytest.mark.usefixtures("_no_contexts")
def test_the_ca_of_a_definition_replaces_those_of_the_system(
    serve: Callable[..., TlsServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = issue("System CA", ca=True)
    (tmp_path / "system.pem").write_text(system.pem, encoding="ascii")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    server = serve(issue("public", system, names=[NAME]))
    assert probed(server, https(ca="", server_name=NAME)) is True
    assert "not accepted" in str(probed(server, https()))
    assert "not accepted" in str(probed(serve(GOOD), https(ca="", server_name=NAME)))


def test_a_bundle_accepts_each_of_its_cas(serve: Callable[..., TlsServer]) -> None:
    both = CA.pem + OTHER_CA.pem
    for identity in (GOOD, issue("other", OTHER_CA, names=[NAME])):
        assert probed(serve(identity), https(ca=both)) is True


def test_a_service_without_tls_fails(serve: Callable[..., TlsServer]) -> None:
    assert str(probed(serve(None), https())).startswith("TLS failed: ")
    plain = Health(http=HttpProbe(8443, "/healthz"))
    assert probed(serve(GOOD), plain) is not True


def test_a_redirect_is_not_followed(serve: Callable[..., TlsServer]) -> None:
    server, other = serve(GOOD), serve(GOOD)
    server.status, server.headers = 301, {"Location": f"https://127.0.0.1:{other.address[1]}/healthz"}
    assert probed(server, https()) == "GET /healthz answered 301 (expected: 200)"
    assert other.requests == []


def test_one_deadline_covers_the_handshake_and_a_trickling_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    bundle = tmp_path / "server.pem"
    bundle.write_text(GOOD.pem + GOOD.key_pem, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)

    def answer(connection: socket.socket, trickles: bool) -> None:
        with suppress(OSError), connection:
            if not trickles:
                while connection.recv(4096):
                    pass
                return
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(4096)
                held.run()
                for byte in b"HTTP/1.1 200 OK\r\nX-Trickle: " + b"x" * 10000:
                    secured.sendall(bytes([byte]))
                    never.wait(0.02)

    for trickles in (False, True):
        held = hold_time(monkeypatch, probing, deadline_socket)
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def accept(trickles: bool = trickles, listening: socket.socket = listening) -> None:
                answer(listening.accept()[0], trickles)

            threading.Thread(target=accept, daemon=True).start()
            assert probe({8443: listening.getsockname()}, https(timeout=1.0)) == "no answer within 1 s"


def test_an_answer_over_tls_is_bounded(tmp_path: Path) -> None:
    bundle = tmp_path / "server.pem"
    bundle.write_text(GOOD.pem + GOOD.key_pem, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)

    def flood(listening: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as secured:
            secured.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                secured.sendall(b"X-Flood: x\r\n" * 90)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=flood, args=(listening,), daemon=True).start()
        result = str(probe({8443: listening.getsockname()}, https(timeout=PATIENCE)))
    assert "more than" in result
