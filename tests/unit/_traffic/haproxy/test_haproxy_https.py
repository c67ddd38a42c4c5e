# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of the real HAProxy make the same exchange as a probe, with real TLS servers."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, Https
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.tests.support.balancers import port_of, states
from ansible_collections.immutable.infra.tests.support.certificates import (
    NAME,
    Identity,
    TlsServer,
    http_server,
    issue,
)
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until

CA, OTHER_CA = issue("Example CA", ca=True), issue("Other CA", ca=True)
GOOD = issue("good", CA, names=[NAME])
BAD = {
    "expired": issue("expired", CA, names=[NAME], days=-1),
    "named": issue("named", CA, names=["other.example.com"]),
    "selfsigned": issue("selfsigned", names=[NAME]),
    "othersigned": issue("othersigned", OTHER_CA, names=[NAME]),
}
# Characters that mean something in a file of HAProxy or in a log format.
ODD = "%[src] %% \"quoted\" '${HOME}' #no \\x41 {a,b}; end\\"


@pytest.fixture
def serve(tmp_path: Path, stack: ExitStack) -> Iterator[Callable[[Identity | None], TlsServer]]:
    yield lambda identity, host="127.0.0.1": stack.enter_context(http_server(tmp_path, identity, host))


def https(timeout: float = 60.0, **fields: object) -> Health:
    settings = {"server_name": NAME, "ca": CA.pem, **fields}
    return Health(http=HttpProbe(8443, "/healthz", https=Https(**settings)), timeout=timeout)


def checked(proxy: HAProxy) -> bool:
    return all(server.check.lstrip("* ") not in ("INI", "") for server in proxy._servers())


def expect(proxy: HAProxy, verdicts: dict[str, str]) -> None:
    """Every member has been checked, and has its state even after further checks."""
    until(lambda: checked(proxy) and states(proxy) == verdicts, why=lambda: str(proxy._servers()))


def test_only_the_certificate_of_the_given_ca_for_the_given_name_gets_traffic(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]
) -> None:
    """A probe agrees with the balancer about every server."""
    proxy, health = balancer(https()), https()
    proxy.ensure()
    servers = {"good": serve(GOOD), **{name: serve(identity) for name, identity in BAD.items()}, "plain": serve(None)}
    proxy.register({name: server.address for name, server in servers.items()})
    expect(proxy, {name: "up" if name == "good" else "down" for name in servers})
    assert all(server.requests == [] for name, server in servers.items() if name != "good")
    assert {name for name, each in servers.items() if probe({8443: each.address}, health) is True} == {"good"}


def test_a_client_reaches_the_service_with_its_own_certificate(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]
) -> None:
    proxy = balancer(https())
    proxy.ensure()
    proxy.register({"good": serve(GOOD).address})
    expect(proxy, {"good": "up"})
    assert proxy.describe()["endpoint"] == f"https://127.0.0.1:{port_of(proxy)}"
    context = ssl.create_default_context(cadata=CA.pem)
    client = http.client.HTTPSConnection("127.0.0.1", port_of(proxy), timeout=PATIENCE, context=context)
    client._context.check_hostname = False  # the name of the address is not in the certificate
    client.request("GET", "/", headers={"Host": NAME})
    assert client.getresponse().read() == b"all is well"
    client.close()


def test_without_verification_any_certificate_passes(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]
) -> None:
    proxy = balancer(https(verify=False, ca="", server_name=""))
    proxy.ensure()
    proxy.register({name: serve(identity).address for name, identity in BAD.items()})
    expect(proxy, dict.fromkeys(BAD, "up"))


def test_without_a_ca_only_those_of_the_system_count(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]
) -> None:
    proxy = balancer(https(ca=""))
    proxy.ensure()
    proxy.register({"good": serve(GOOD).address})
    expect(proxy, {"good": "down"})


def test_a_changed_ca_applies_to_new_members(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer], tmp_path: Path
) -> None:
    """And those in service stay there. An unchanged one starts no new process."""
    good, other = serve(GOOD), serve(BAD["othersigned"])
    first = balancer(https())
    assert first.ensure() is True and first.ensure() is False
    first.register({"good": good.address})
    first.register({"waiting": good.address}, staged=True)
    until(lambda: states(first) == {"good": "up", "waiting": "drain"} and all(m.passing for m in first.members()))
    changed = balancer(https(ca=OTHER_CA.pem))
    assert changed.ensure() is True and changed.ensure() is False
    changed.register({"othersigned": other.address, "late": good.address})
    until(lambda: checked_or_taken_over(changed))
    expected = {"good": "up", "waiting": "drain", "othersigned": "up", "late": "down"}
    until(lambda: states(changed) == expected, why=lambda: str(changed._servers()))
    until(lambda: not {m.id: m.passing for m in changed.members()}["waiting"])


def checked_or_taken_over(proxy: HAProxy) -> bool:
    return all(not server.checked or server.check.lstrip("* ") not in ("INI", "") for server in proxy._servers())


@pytest.mark.parametrize("identity", [None, GOOD], ids=["http", "https"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_balancer_sends_what_the_probe_sends(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer], identity: Identity | None, method: str
) -> None:
    headers = (("Host", "www.example.com"), ("X-Odd", ODD), ("user-agent", "probe"), ("x-!#$%&'*+.^_`|~", "token"))
    tls = https().https if identity else None
    health = Health(http=HttpProbe(8443, "/a?b=%20c", method=method, headers=headers, https=tls), timeout=60.0)
    server = serve(identity)
    assert probe({8443: server.address}, health) is True
    proxy = balancer(health)
    proxy.ensure()
    proxy.register({"shop-0": server.address})
    expect(proxy, {"shop-0": "up"})
    own = ("accept-encoding", "connection")
    sent = [(line, {n: v for n, v in received.items() if n not in own}) for line, received in server.requests]
    assert sent[0] == (f"{method} /a?b=%20c HTTP/1.1", {name.lower(): value for name, value in headers})
    assert sent[1] == sent[0]


def test_the_host_of_https_is_its_server_name(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]
) -> None:
    server, proxy = serve(GOOD), balancer(https())
    proxy.ensure()
    proxy.register({"shop-0": server.address})
    expect(proxy, {"shop-0": "up"})
    assert server.requests[0][1]["host"] == NAME


@pytest.mark.parametrize("text", ["ready", ODD, '{"state": "größer", "n": 1}', "\u2603" * 256, "x" * 256])
def test_the_body_must_contain_the_text(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer], text: str
) -> None:
    health = Health(http=HttpProbe(8080, status=("200-299", 418), contains=text), timeout=60.0)
    early, late, other = serve(None), serve(None), serve(None)
    early.body = b"it is " + text.encode() + b"." * 100_000
    early.status = 204 + 1
    late.body = b"." * 200_000 + text.encode()
    other.body = text.encode()[:-1]
    servers = {"early": early, "late": late, "other": other}
    proxy = balancer(health)
    proxy.ensure()
    proxy.register({name: server.address for name, server in servers.items()})
    expect(proxy, {"early": "up", "late": "down", "other": "down"})
    assert {name: probe({8080: each.address}, health) is True for name, each in servers.items()} == {
        "early": True,
        "late": False,
        "other": False,
    }


def test_ranges_of_status_codes(balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]) -> None:
    proxy = balancer(Health(http=HttpProbe(8080, status=("200-299", 418)), timeout=60.0))
    proxy.ensure()
    servers = {str(status): serve(None) for status in (200, 299, 418, 300, 417)}
    for status, server in servers.items():
        server.status = int(status)
    proxy.register({name: server.address for name, server in servers.items()})
    expect(proxy, {name: "up" if name in ("200", "299", "418") else "down" for name in servers})


def test_members_with_ipv6_addresses(balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer]) -> None:
    proxy = balancer(https())
    proxy.ensure()
    first, second = serve(GOOD, "::1"), serve(GOOD, "::1")
    proxy.register({"shop-0": first.address})
    expect(proxy, {"shop-0": "up"})
    proxy.register({"shop-0": second.address})
    expect(proxy, {"shop-0": "up"})
    until(lambda: bool(second.requests))


@pytest.mark.parametrize("path", ["/it's?a=%20'b'", "/" + "x" * 8000], ids=["quotes", "long"])
def test_every_path_of_a_definition_can_be_requested(
    balancer: Callable[..., HAProxy], serve: Callable[..., TlsServer], path: str
) -> None:
    health, server = Health(http=HttpProbe(8080, path), timeout=60.0), serve(None)
    assert probe({8080: server.address}, health) is True
    proxy = balancer(health)
    proxy.ensure()
    proxy.register({"shop-0": server.address})
    expect(proxy, {"shop-0": "up"})
    assert {line for line, _headers in server.requests} == {f"GET {path} HTTP/1.1"}
