# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A proxy on the loopback that tools reach OpenStack through. It counts what they ask for."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TIMEOUT = 120.0  # seconds for one answer
KEYSTONE = "keystone"
SERVICES = {5000: KEYSTONE, 8774: "nova", 8776: "cinder", 9292: "glance", 9696: "neutron", 9876: "octavia"}
CHANGING = ("POST", "PUT", "DELETE", "PATCH")
HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "te", "upgrade")
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")
_VERSION = re.compile(r"^/?(v[0-9.]+/?)?(ID/?)?")


@dataclass(frozen=True)
class Call:
    """One request to a service."""

    service: str
    action: str  # method and path, without IDs
    changing: bool  # a login changes nothing


class CallProxy:
    """Forwards requests with absolute URLs, as clients send them with ``http_proxy``."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Forwarder)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def record(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def forget(self) -> None:
        with self._lock:
            self._calls.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def call_proxy() -> Iterator[CallProxy]:
    proxy = CallProxy()
    try:
        yield proxy
    finally:
        proxy.close()


class _Server(ThreadingHTTPServer):
    proxy: CallProxy


class _Forwarder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_arguments: object) -> None:
        """Write no log."""

    def _forward(self) -> None:
        url = urlsplit(self.path)
        self.server.proxy.record(call_of(self.command, url.port or 80, url.path))
        body = without_networks(self.command, url.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
        connection = http.client.HTTPConnection(str(url.hostname), url.port or 80, timeout=TIMEOUT)
        try:
            connection.request(self.command, target, body or None, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _forward  # noqa: N815  the base's names


def without_networks(method: str, path: str, body: bytes) -> bytes:
    """A request as it is, but for a server that may have any network: it gets none.

    The module ``server`` of openstack.cloud cannot ask for that, and a network takes most of the time of a launch.
    """
    if method != "POST" or not path.endswith("/servers"):
        return body
    document = json.loads(body)
    if document["server"].get("networks") == "auto":
        document["server"]["networks"] = "none"
    return json.dumps(document).encode()


def call_of(method: str, port: int, path: str) -> Call:
    """The call that a request is."""
    service = SERVICES.get(port, str(port))
    plain = _VERSION.sub("", _ID.sub("ID", path))
    return Call(service, f"{method} {plain or '/'}", method in CHANGING and service != KEYSTONE)
