# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a metric's URL is asked by, and whose answer counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._health.metric_sources import read_metric
from ansible_collections.immutable.infra.plugins.plugin_utils._health.metrics import Reading
from ansible_collections.immutable.infra.tests.support.certificates import Identity, TlsServer, http_server, issue

CA = issue("Example CA", ca=True)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Identity | None], TlsServer]]:
    with ExitStack() as stack:
        yield lambda identity: stack.enter_context(http_server(tmp_path, identity))


def read(server: TlsServer, folder: Path, scheme: str = "https", **fields: object) -> Reading:
    server.body = b"0.5"
    url = f"{scheme}://user:secret@localhost:{server.address[1]}/rate?token=secret"
    return read_metric(Metric(url=url, most=1.0, timeout=60.0, **fields), folder, lambda: None)


def test_only_a_certificate_of_the_given_ca_for_the_name_of_the_url_counts(
    serve: Callable[..., TlsServer], tmp_path: Path
) -> None:
    assert read(serve(issue("good", CA, names=["localhost"])), tmp_path, ca=CA.pem) == Reading()
    for identity in (
        issue("expired", CA, names=["localhost"], days=-1),
        issue("other name", CA, names=["shop.example.com"]),
        issue("self-signed", names=["localhost"]),
    ):
        for ca in (CA.pem, ""):
            server = serve(identity)
            found = read(server, tmp_path, ca=ca)
            assert not found.answered and "certificate verify failed" in found.problem
            assert "secret" not in found.problem and server.requests == []
    assert "certificate verify failed" in read(serve(issue("good", CA, names=["localhost"])), tmp_path).problem


def test_headers_replace_those_of_the_reader(serve: Callable[..., TlsServer], tmp_path: Path) -> None:
    server, headers = serve(None), (("host", "metrics.example.com"), ("Authorization", "Bearer x"), ("X-Scope", "shop"))
    assert read(server, tmp_path, "http", headers=headers) == Reading()
    _line, received = server.requests[0]
    assert (received["host"], received["authorization"]) == ("metrics.example.com", "Bearer x")
    assert (received["x-scope"], received["accept"]) == ("shop", "application/json")


def test_what_a_source_says_is_shown_without_escapes(serve: Callable[..., TlsServer], tmp_path: Path) -> None:
    text = "\x1b]0;title\x07\x1b[31mred"
    server = serve(None)
    command = (sys.executable, "-c", f"import sys; print({text!r}); sys.exit(3)")
    failed = read_metric(Metric(command=command, timeout=60.0), tmp_path, lambda: None)
    assert failed.problem.endswith("it ended with 3 (its last output: red)")
    server.body = text.encode()
    url = f"http://127.0.0.1:{server.address[1]}/"
    answered = read_metric(Metric(url=url, most=1.0, timeout=60.0), tmp_path, lambda: None)
    assert answered.problem.endswith("neither JSON nor a number: red")


def test_a_document_of_the_store_keeps_them_and_has_nothing_new_without_them() -> None:
    rich = Metric(url="https://localhost/", most=1.0, headers=(("Host", "a"), ("X-A", "b")), ca=CA.pem)
    intent = Intent("shop-local", alarm=rich)
    document = intent.as_dict()
    assert Intent.from_dict(document) == intent
    assert Intent.from_dict({**document, "alarm": {**document["alarm"], "headers": [["Host", "a"], ["X-A", "b"]]}}) == (
        intent
    )
    plain = Intent("shop-local", alarm=Metric(url="http://localhost/", most=1.0)).as_dict()
    assert plain["alarm"] is not None and {"headers", "ca"}.isdisjoint(plain["alarm"])
