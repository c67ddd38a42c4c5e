# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the relay of a container does with connections. Its source is passed to the relay."""

from __future__ import annotations

import errno
import os
import resource
import selectors
import signal
import socket
import struct
import time
from contextlib import suppress
from types import CodeType
from typing import Any

LOOPBACK = "127.0.0.1"
_CHUNK = 65536  # bytes of one read
_FLUSH = 2.0  # seconds to deliver what a container sent before it ended
_SPARE_FILES = 64
MAX_OUTWARD = 256  # connections of a container at a time; each is a process that no limit of the container counts
_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing resets the connection


class Inward:
    """Relays connections to ports of the container. One process for all of them, without threads.

    Args:
        listeners: sockets outside, with the port of the container that each is for.
    """

    def __init__(self, listeners: dict[socket.socket, int]) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self._most = max(1, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES) // 2)
        self._listeners = listeners
        self._selector = selectors.EpollSelector()
        self._connections: set[Connection] = set()
        self._accepting = False

    def serve(self, container: int, partner: socket.socket | None) -> None:
        """Relay until the container or the other process of this relay has ended."""
        ends = [container, *([partner.fileno()] if partner else [])]
        for each in ends:
            self._selector.register(each, selectors.EVENT_READ, None)
        while True:
            self._accept_if(len(self._connections) < self._most)
            for key, events in self._selector.select():
                if key.fd in ends:
                    self._finish(ends)
                    return
                self._handle(key, events)

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        if isinstance(key.data, Connection):
            if key.data in self._connections and not key.data.proceed(key.fd, events):
                self._connections.discard(key.data)
        elif key.data is not None:
            self._accept(key.data)

    def _accept_if(self, wanted: bool) -> None:
        if wanted == self._accepting:
            return
        self._accepting = wanted
        for each in self._listeners:
            if wanted:
                self._selector.register(each, selectors.EVENT_READ, each)
            else:
                self._selector.unregister(each)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _address = listener.accept()
        except OSError:
            return  # it is gone already
        try:
            self._connections.add(Connection(self._selector, client, self._listeners[listener]))
        except OSError:
            reset(client)

    def _finish(self, ends: list[int]) -> None:
        """Deliver what the container sent before it ended."""
        self._accept_if(False)
        for each in self._listeners:
            each.close()
        for number in ends:
            self._selector.unregister(number)
        deadline = time.monotonic() + _FLUSH
        while self._connections and (left := deadline - time.monotonic()) > 0:
            for key, events in self._selector.select(left):
                self._handle(key, events)


class Connection:
    """One connection through the relay: a client outside and a server inside.

    Raises OSError if there cannot be one.
    """

    def __init__(self, selector: selectors.BaseSelector, client: socket.socket, port: int) -> None:
        self._selector = selector
        server = socket.socket()
        try:
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = server.connect_ex((LOOPBACK, port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            server.close()
            raise
        self._connected = False
        self._ends = {client.fileno(): client, server.fileno(): server}
        self._other = {client.fileno(): server.fileno(), server.fileno(): client.fileno()}
        self._server = server.fileno()
        self._pending = dict.fromkeys(self._ends, b"")  # what is to be sent to each end
        self._ended: set[int] = set()  # ends that send no more
        self._closed: set[int] = set()  # ends that know so
        self._events = dict.fromkeys(self._ends, 0)
        self._watch()

    def proceed(self, number: int, events: int) -> bool:
        """Do what is possible now. Returns whether the connection goes on."""
        try:
            if not self._connected:
                if number != self._server:
                    return True
                code = self._ends[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self._connected = True
            if events & selectors.EVENT_READ and not self._pending[self._other[number]]:
                self._read(number)
            for each in self._ends:
                self._send(each)
            if len(self._closed) == len(self._ends):
                self._close()
                return False
            self._watch()
        except OSError:
            self._close(failed=True)
            return False
        return True

    def _read(self, number: int) -> None:
        try:
            data = self._ends[number].recv(_CHUNK)
        except BlockingIOError:
            return
        if data:
            self._pending[self._other[number]] = data
        else:
            self._ended.add(number)

    def _send(self, number: int) -> None:
        data = self._pending[number]
        if data:
            with suppress(BlockingIOError):
                self._pending[number] = data[self._ends[number].send(data) :]
        if not self._pending[number] and self._other[number] in self._ended and number not in self._closed:
            self._ends[number].shutdown(socket.SHUT_WR)
            self._closed.add(number)

    def _watch(self) -> None:
        for number, end in self._ends.items():
            if not self._connected:
                events = selectors.EVENT_WRITE if number == self._server else 0
            else:
                reads = number not in self._ended and not self._pending[self._other[number]]
                events = (selectors.EVENT_READ if reads else 0) | (
                    selectors.EVENT_WRITE if self._pending[number] else 0
                )
            before, self._events[number] = self._events[number], events
            if events == before:
                continue
            if not before:
                self._selector.register(end, events, self)
            elif events:
                self._selector.modify(end, events, self)
            else:
                self._selector.unregister(end)

    def _close(self, failed: bool = False) -> None:
        for number, end in self._ends.items():
            if self._events[number]:
                self._selector.unregister(end)
                self._events[number] = 0
            if failed:
                reset(end)
            else:
                end.close()


class Outward:
    """Relays connections of the container to declared addresses: each in a process of its own, because names block.

    Args:
        listeners: sockets inside.
        targets: host, colon and port by the number of the listener.
        program: that connects its standard input with a host and a port.
    """

    def __init__(
        self, listeners: list[socket.socket], targets: dict[int, tuple[str, str, str]], program: CodeType
    ) -> None:
        self._listeners, self._targets, self._program = listeners, targets, program
        self._children: dict[int, int] = {}  # process numbers by their descriptors

    def serve(self, container: int, partner: socket.socket) -> None:
        """Relay until the container or the other process of this relay has ended."""
        ends, accepting = (container, partner.fileno()), False
        with selectors.EpollSelector() as selector:
            for number in ends:
                selector.register(number, selectors.EVENT_READ)
            while True:
                if accepting != (len(self._children) < MAX_OUTWARD):
                    accepting = not accepting
                    for each in self._listeners:
                        if accepting:
                            selector.register(each, selectors.EVENT_READ)
                        else:
                            selector.unregister(each)
                for key, _events in selector.select():
                    if key.fd in ends:
                        os.killpg(0, signal.SIGKILL)  # with the connections
                    if key.fd in self._children:
                        selector.unregister(key.fd)
                        os.waitpid(self._children.pop(key.fd), 0)
                        os.close(key.fd)
                    elif len(self._children) < MAX_OUTWARD and (ended := self._accept(key.fd)) is not None:
                        selector.register(ended, selectors.EVENT_READ)

    def _accept(self, number: int) -> int | None:
        """Start the process of a connection. Return what becomes readable at its end, or None if there is none."""
        listener = next(each for each in self._listeners if each.fileno() == number)
        try:
            guest, _address = listener.accept()
        except OSError:
            return None
        with guest:
            guest.setblocking(True)
            try:
                child = os.fork()
            except OSError:
                reset(guest)
                return None
            if child == 0:
                self._connect(guest, *self._targets[number])
            ended = os.pidfd_open(child)  # it is a zombie at least until it is waited for
            self._children[ended] = child
            return ended

    def _connect(self, guest: socket.socket, host: str, _colon: str, port: str) -> None:
        code = 1
        try:
            os.dup2(guest.fileno(), 0)
            names: dict[str, Any] = {"__name__": "reach"}
            exec(self._program, names)  # noqa: S102  the source of this collection's own program
            code = names["main"](host, int(port))
            if code:
                reset(guest)
        except (OSError, UnicodeError):
            reset(guest)
        finally:
            os._exit(code)


def reset(end: socket.socket) -> None:
    """Close a connection so that its peer sees a failure, not an end."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()
