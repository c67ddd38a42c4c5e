# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Health, HttpProbe, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._health.evidence import proves
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe_all
from ansible_collections.immutable.infra.plugins.plugin_utils._health.prober import NetworkProber, health_tag
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Evidence, Instance

HTTP = Health(http=HttpProbe(8080, "/healthz"), timeout=5.0)


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


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_each_instance_gets_its_own_result(service, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    results = probe_all(
        {"well": {8080: service}, "dead": {8080: ("127.0.0.1", free_port())}, "elsewhere": {22: service}}, HTTP
    )
    assert results["well"] is True
    assert results["dead"].startswith("ConnectionRefusedError")
    assert results["elsewhere"] == "port 8080 cannot be reached from here"


def test_a_redirect_or_an_error_is_not_health(service):
    for path, answer in (("/moved", 302), ("/broken", 500)):
        health = Health(http=HttpProbe(8080, path))
        assert probe_all({"i": {8080: service}}, health) == {"i": f"GET {path} answered {answer}"}
    assert probe_all({"i": {8080: service}}, Health(http=HttpProbe(8080, "/moved", (200, 302)))) == {"i": True}


def test_a_port_that_accepts_and_never_answers_fails_by_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        results = probe_all({"i": {8080: silent.getsockname()}}, Health(http=HttpProbe(8080), timeout=0.2))
        assert results == {"i": "no answer within 0.2 s"}
        assert probe_all({"i": {9: silent.getsockname()}}, Health(tcp=TcpProbe(9))) == {"i": True}


def instance(**changes) -> Instance:
    fields = {"image": "sha256:1", "nonce": "n", "evidence": Evidence("sha256:1", "n", "", "off"), **changes}
    return Instance(id="i", fleet="f", slot=0, launch="l", state="running", purpose="fleet", created=0.0, **fields)


def test_an_instance_is_probed_by_the_health_settings_it_was_launched_with(service):
    old = instance(endpoints={8080: service}, tags={"health": health_tag(HTTP)})
    assert NetworkProber(Health(http=HttpProbe(9090, "/new")))([old]) == {"i": True}
    assert NetworkProber(HTTP)([instance(endpoints={8080: service}, tags={"health": "{"})]) == {"i": True}


def test_only_evidence_of_this_image_and_this_launch_proves():
    assert proves(instance()) is True
    assert proves(instance(evidence=None)) == "it has not sealed itself yet"
    assert "nonce" in proves(instance(nonce="another"))
    assert "sha256:2" in proves(instance(image="sha256:2"))
