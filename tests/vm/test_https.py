# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service that speaks HTTPS on a real machine: only a host that proves its name gets into service."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.certificates import NAME, issue
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, released

pytestmark = pytest.mark.long
CA, OTHER_CA = issue("Example CA", ca=True), issue("Other CA", ca=True)
GOOD = issue("good", CA, names=[NAME])
PLAIN = 'ThreadingHTTPServer(("", 8080), Handler).serve_forever()\n'
# The certificate with its key is the service's secret.
SECURED = """import ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/run/immutable/secrets/token")
server = ThreadingHTTPServer(("", 8080), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""


class Secured(Service):
    """One host whose probe verifies it by HTTPS, sends a host name and reads the answer."""

    def define(self, **changes: object) -> None:
        super().define(**changes)
        program, definition = self.folder / "echo.py", self.folder / "immutable.yml"
        text = program.read_text(encoding="utf-8")
        assert PLAIN in text
        program.write_text(text.replace(PLAIN, SECURED), encoding="utf-8")
        document = json.loads(definition.read_text(encoding="utf-8"))
        del document["image"]["verify"]  # the boot test and its probe are enough
        document["health"]["http"] |= {
            "status": ["200-299"],
            "headers": {"Host": "www.example.com"},
            "contains": "hello",
            "https": {"server_name": NAME, "ca": CA.pem},
        }
        definition.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN, GOOD.pem + GOOD.key_pem)
        folder: Path = tmp_path_factory.mktemp("secured") / "secured"
        with released(Secured(folder, "secured", size=1, shell="off", data=False)) as service:
            yield service


def test_only_a_host_that_proves_its_name_gets_into_service(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = secured.instances()
    assert first["serving"] is True
    fleet = secured.module("fleet_info")
    assert fleet["endpoint"].startswith("https://127.0.0.1:")
    client = http.client.HTTPSConnection(
        "127.0.0.1", int(fleet["endpoint"].rpartition(":")[2]), timeout=60, context=client_context()
    )
    client.request("GET", "/healthz", headers={"Host": NAME})
    assert client.getresponse().read() == b"hello"
    client.close()
    other = issue("other", OTHER_CA, names=[NAME])
    monkeypatch.setenv(TOKEN, other.pem + other.key_pem)
    output = secured.play("swap", check=False)
    assert "its certificate is not accepted: " in output
    [after] = secured.instances()
    assert (after["id"], after["serving"]) == (first["id"], True)


def client_context() -> ssl.SSLContext:
    """A client that trusts the CA only. The host of the address is not the name in the certificate."""
    context = ssl.create_default_context(cadata=CA.pem)
    context.check_hostname = False
    return context
