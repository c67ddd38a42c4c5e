# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An HTTP proxy in front of moto. It parses each call, logs it, and passes it through rules and faults."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..waiting import PATIENCE
from .answers import Answer, Dropped
from .calls import Call, parse

HOP_BY_HOP_HEADERS = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "content-length",
    "proxy-connection",
}

Proceed = Callable[[Call], Answer]
# A layer may answer itself, change the parameters of a query call or the answer, or raise Dropped.
Layer = Callable[[Call, Proceed], Answer]


class Proxy:
    """Serves on a free port of loopback until ``close``. A call passes the ``layers`` from first to last, then moto."""

    def __init__(self, port: int) -> None:
        self.moto_port = port
        self.layers: list[Layer] = []
        self._calls: list[Call] = []
        self._lock = threading.Condition()
        self._open = 0  # calls that are being answered
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def calls(self, service: str = "", action: str = "", changing: bool | None = None) -> list[Call]:
        """The calls that were answered since the last ``forget``, in the order of the answers."""
        with self._lock:
            logged = list(self._calls)
        wanted = [call for call in logged if service in ("", call.service) and action in ("", call.action)]
        return [call for call in wanted if changing in (None, call.changing)]

    def count(self, changing: bool | None = None, service: str = "", action: str = "") -> int:
        return len(self.calls(service, action, changing))

    def forget(self) -> None:
        with self._lock:
            self._calls.clear()

    def settle(self) -> None:
        """Wait until no call is being answered. Killed callers leave calls behind."""
        with self._lock:
            assert self._lock.wait_for(lambda: not self._open, PATIENCE), "calls are still being answered"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, call: Call, send: Proceed) -> Answer:
        """Through all layers. Raises Dropped."""
        started = time.monotonic()
        call = replace(call, started=started)
        status = 0
        with self._lock:
            self._open += 1
        try:
            answer = self._through(send, list(self.layers))(call)
            status = answer.status
            return answer
        finally:
            with self._lock:
                self._calls.append(replace(call, seconds=time.monotonic() - started, status=status))
                self._open -= 1
                self._lock.notify_all()

    def _through(self, send: Proceed, layers: list[Layer]) -> Proceed:
        if not layers:
            return send
        rest = self._through(send, layers[1:])
        return lambda call: layers[0](call, rest)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: tests kill clients on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _serve(self) -> None:
        body = (
            self._chunked()
            if "chunked" in self.headers.get("Transfer-Encoding", "")
            else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        )
        call = parse(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        try:
            answer = self.server.proxy.answer(
                call, lambda passed: self._send(body if passed.parameters == call.parameters else passed.form())
            )
        except Dropped:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.command != "HEAD" or "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Flush, because botocore waits a second for this line before each body that it puts."""
        accepted = super().handle_expect_100()
        self.wfile.flush()
        return accepted

    def _send(self, body: bytes) -> Answer:
        """Send the request to moto, which closes its connections after each answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.proxy.moto_port, timeout=PATIENCE)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP_HEADERS}
            connection.request(
                self.command, self.path, body or (b"" if self.command in ("PUT", "POST") else None), headers
            )
            response = connection.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP_HEADERS}
            if self.command == "HEAD" and (length := response.getheader("Content-Length")):
                kept["Content-Length"] = length
            return Answer(response.status, response.read(), kept)
        finally:
            connection.close()

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        """Calls are logged as calls."""
