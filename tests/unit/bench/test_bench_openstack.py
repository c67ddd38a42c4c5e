# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proxy that counts calls to OpenStack, and the rows of a benchmark."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(
    not (ROOT / "bench").is_dir(), reason="the benchmarks are not part of the installed collection"
)
IMAGE = "6a0b7a52-3f0e-4f0e-9a5c-0d6a8f1b2c3d"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    from bench.openstack import proxy

    return proxy


class Service(BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(409 if self.path == "/full" else 202)
        self.send_header("X-Path", self.path)
        self.send_header("X-Token", self.headers.get("X-Auth-Token", ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Write no log."""


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_requests_and_answers_pass_the_proxy_unchanged_and_are_counted(proxy: ModuleType, service: str) -> None:
    with proxy.call_proxy() as counting:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": counting.url}))
        request = urllib.request.Request(f"{service}/v2/images?limit=1", b"{}", {"X-Auth-Token": "t"})
        with opener.open(request, timeout=PATIENCE) as answer:
            assert (answer.status, answer.read(), answer.headers["X-Path"]) == (202, b"{}", "/v2/images?limit=1")
            assert answer.headers["X-Token"] == "t"
        with pytest.raises(urllib.error.HTTPError) as refused:
            opener.open(urllib.request.Request(f"{service}/full", b"full"), timeout=PATIENCE)
        assert (refused.value.code, refused.value.read()) == (409, b"full")
        port = service.rpartition(":")[2]
        assert counting.calls() == [proxy.Call(port, "POST images", True), proxy.Call(port, "POST full", True)]
        counting.forget()
        assert counting.calls() == []


def test_a_server_with_any_network_gets_none(proxy: ModuleType) -> None:
    for given, sent in {b'"auto"': b'"none"', b'[{"uuid": "a"}]': b'[{"uuid": "a"}]'}.items():
        body = b'{"server": {"name": "a", "networks": %b}}'
        assert proxy.without_networks("POST", "/v2.1/servers", body % given) == body % sent
    assert proxy.without_networks("POST", "/v2.1/servers/a/action", b"{}") == b"{}"


def test_calls_are_named_without_ids_and_a_login_changes_nothing(proxy: ModuleType) -> None:
    assert proxy.call_of("DELETE", 8774, f"/v2.1/servers/{IMAGE}") == proxy.Call("nova", "DELETE servers/ID", True)
    assert proxy.call_of("GET", 9292, f"/v2/images/{IMAGE}") == proxy.Call("glance", "GET images/ID", False)
    assert proxy.call_of("GET", 8776, f"/v3/{'0' * 32}/volumes") == proxy.Call("cinder", "GET volumes", False)
    assert proxy.call_of("GET", 8774, "/v2.1/") == proxy.Call("nova", "GET /", False)
    assert proxy.call_of("POST", 5000, "/v3/auth/tokens") == proxy.Call("keystone", "POST auth/tokens", False)


def test_a_strategy_with_too_many_calls_and_a_second_run_that_changes_miss_their_goals(proxy: ModuleType) -> None:
    from bench.measuring import Measured, Row, misses, table

    def measured(calls: int, changing: int) -> Measured:
        return Measured(wall=1.0, cpu=0.5, calls=calls, changing=changing, by_action=Counter(), output="")

    def row(name: str, calls: int, again: int | None = None) -> Row:
        return Row(50, name, measured(calls, calls // 2), None if again is None else measured(3, again))

    good = [row("other", 300), row("immutable.infra rolling", 100, 0)]
    assert misses(good, 50, 3.0) == []
    assert len(misses([*good, row("immutable.infra canary", 101, 1)], 50, 3.0)) == 2
    assert misses([row("other", 300), row("immutable.infra rolling", 200, 0)], 100, 3.0) == []
    assert "|        50 | other " in table(good)
