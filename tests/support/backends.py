# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small HTTP servers behind a load balancer on this machine, and clients that send requests to it."""

from __future__ import annotations

import http.client
import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .waiting import PATIENCE, until


class Backend:
    """An HTTP server on this machine that answers with its name. A request to ``/slow`` waits for ``released``.

    Attributes:
        healthy: whether ``/healthz`` answers 200 or 503.
        waiting: set once a request to ``/slow`` has arrived.
        released: set it to let requests to ``/slow`` go on. They wait at most ``PATIENCE`` seconds.
        address: host and port.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.waiting = threading.Event()
        self.released = threading.Event()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    backend.waiting.set()
                    backend.released.wait(PATIENCE)
                self.send_response(200 if backend.healthy or self.path != "/healthz" else 503)
                self.send_header("Content-Length", str(len(backend.name)))
                self.end_headers()
                self.wfile.write(backend.name.encode())

            def log_message(self, *args: object) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = ("127.0.0.1", self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def get(port: int, path: str = "/") -> str:
    """Return the body of the answer. Fails unless its status is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (answer.status, text)
        return text
    finally:
        connection.close()


@contextmanager
def steady_load(port: int) -> Iterator[list[str]]:
    """Send requests from four clients, two of which keep their connections. Yields the failures, a list that grows."""
    failures: list[str] = []
    done = threading.Event()
    sent = [0] * 4

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while not done.wait(0.002):
            try:
                connection.request("GET", "/", headers={} if number < 2 else {"Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(f"status {answer.status}")
                sent[number] += 1
            except Exception as error:
                failures.append(repr(error))
                connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: min(sent) > 10)
        yield failures
    finally:
        done.set()
        for thread in threads:
            thread.join()
