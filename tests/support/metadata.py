# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""EC2's instance metadata service as a server on loopback. It supports only version 2 of the protocol."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ROLE = "shop-host"
CREDENTIALS = (
    b'{"Code": "Success", "AccessKeyId": "ASIAEXAMPLE0", "SecretAccessKey": "example-key-of-the-instance", '
    b'"Token": "example-session"}'
)
PROFILE = {
    "meta-data/iam/security-credentials/": ROLE.encode(),
    f"meta-data/iam/security-credentials/{ROLE}": CREDENTIALS,
}


class Metadata(ThreadingHTTPServer):
    """The server.

    Args:
        bodies: by path below /latest/.
        refusals: the number of first requests that are answered with 503.
    """

    daemon_threads = True

    def __init__(self, bodies: Mapping[str, bytes], refusals: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies = dict(bodies)
        self.refusals = refusals
        self.token = secrets.token_hex(16)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        life = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self._answer(
            200 if life else 400, self.server.token.encode() if life and self.path == "/latest/api/token" else None
        )

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != self.server.token:
            self._answer(401, b"")
            return
        self._answer(200, self.server.bodies.get(self.path.removeprefix("/latest/")))

    def _answer(self, status: int, body: bytes | None) -> None:
        if self.server.refusals:
            self.server.refusals -= 1
            status, body = 503, b""
        if body is None:
            status, body = 404, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@contextmanager
def metadata(bodies: Mapping[str, bytes], refusals: int = 0) -> Iterator[Metadata]:
    with Metadata(bodies, refusals) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
