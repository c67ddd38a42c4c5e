# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program that connects a container without a network: a relay between two networks.

It listens on this machine's loopback and connects inside the container's network namespace. For addresses that the
container may reach it is the other way around. It is a program of its own, because it outlives the run that started
it. It uses the standard library only, ends with the container, and gives up root once it is inside.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  host names are resolved later, perhaps without the right to read it
import errno
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from types import CodeType
from typing import Any

LOOPBACK = "127.0.0.1"
_CLONE_NEWNET = 0x40000000
_CHUNK = 65536  # bytes of one read
_BACKLOG = 1024
_FLUSH = 2.0  # seconds to deliver what a container sent before it ended
_SPARE_FILES = 64
# rtnetlink(7)
_NEW_ADDRESS, _NETLINK_ERROR = 20, 2
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing resets the connection
_STARTED = b"+"


def main(text: str) -> int:
    """Start relaying and return once it works.

    Args:
        text: JSON object with ``pid`` and ``start`` of the container's first process, ``ports`` (for each port of the
            container, as text, the port of this machine to listen at; 0, or one that is taken, for any), ``reach`` (for
            each ``address:port`` inside, ``host:port`` outside), ``user`` (number of the user and group to become, or
            null), ``document`` (path of the file that describes the relay) and ``reach_source`` (a program).
    """
    config = json.loads(text)
    container = os.pidfd_open(config["pid"])
    if _start_of(config["pid"]) != config["start"]:
        raise ProcessLookupError(errno.ESRCH, "the container has ended")
    network = os.open(f"/proc/{config['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    listeners = {int(port): _listen(LOOPBACK, wanted) for port, wanted in config["ports"].items()}
    inside = _listeners_inside(network, list(config["reach"]))
    result, report = os.pipe()
    if os.fork():
        os.close(report)
        return 0 if os.read(result, 1) == _STARTED else 1
    os.setsid()
    os.chdir("/")
    program = compile(config["reach_source"], "reach", "exec")
    ours, theirs = socket.socketpair()
    if inside and os.fork() == 0:
        ours.close()
        os.close(report)
        os.setpgid(0, 0)
        _give_up_root(config["user"])
        _quiet()
        targets = {each.fileno(): config["reach"][seen].rpartition(":") for seen, each in inside.items()}
        Outward(list(inside.values()), targets, program).serve(container, theirs)
        os._exit(0)
    theirs.close()
    for each in inside.values():
        each.close()
    _enter(network)
    os.close(network)
    places = {port: each.getsockname()[1] for port, each in listeners.items()}
    _write(config["document"], {"pid": os.getpid(), "start": _start_of(os.getpid()), "ports": places})
    _give_up_root(config["user"])
    os.write(report, _STARTED)
    os.close(report)
    _quiet()
    Inward({each: port for port, each in listeners.items()}).serve(container, ours if inside else None)
    os._exit(0)


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
        self._closed: set[int] = set()  # ends that were told so
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

    def serve(self, container: int, partner: socket.socket) -> None:
        """Relay until the container or the other process of this relay has ended."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        ends = (container, partner.fileno())
        with selectors.EpollSelector() as selector:
            for number in (*ends, *(each.fileno() for each in self._listeners)):
                selector.register(number, selectors.EVENT_READ)
            while True:
                for key, _events in selector.select():
                    if key.fd in ends:
                        os.killpg(0, signal.SIGKILL)  # with the connections
                    self._accept(key.fd)

    def _accept(self, number: int) -> None:
        listener = next(each for each in self._listeners if each.fileno() == number)
        try:
            guest, _address = listener.accept()
        except OSError:
            return
        with guest:
            guest.setblocking(True)
            try:
                child = os.fork()
            except OSError:
                reset(guest)
                return
            if child == 0:
                self._connect(guest, *self._targets[number])

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


def _listen(address: str, port: int) -> socket.socket:
    """Listen at a port, or at a free one if that is taken. It can be used again at once."""
    for wanted in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, wanted))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            return listener
        except OSError:
            listener.close()
            if not wanted or address != LOOPBACK:
                raise
    raise AssertionError


def _listeners_inside(network: int, seen: list[str]) -> dict[str, socket.socket]:
    """Sockets in the container's network, at addresses that it gets for that. A child enters it and passes them."""
    if not seen:
        return {}
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _enter(network)
            pairs = [(address, int(port)) for address, _colon, port in (each.rpartition(":") for each in seen)]
            for address in {address for address, _port in pairs}:
                _add_address(address)
            listeners = [_listen(address, port) for address, port in pairs]
            socket.send_fds(theirs, [_STARTED], [each.fileno() for each in listeners])
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    with ours:
        _data, numbers, _flags, _address = socket.recv_fds(ours, 1, len(seen))
    os.waitpid(child, 0)
    if len(numbers) != len(seen):
        raise OSError(errno.EADDRNOTAVAIL, f"the container's network has no place for {', '.join(seen)}")
    return {each: socket.socket(fileno=number) for each, number in zip(seen, numbers, strict=True)}


def _add_address(address: str) -> None:
    """Give the loopback interface of this network an address."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        packed = socket.inet_aton(address)
        attributes = b"".join(struct.pack("=HH4s", 8, kind, packed) for kind in (_IFA_LOCAL, _IFA_ADDRESS))
        message = (socket.AF_INET, 32, 0, 0, socket.if_nametoindex("lo"))
        body = struct.pack("=BBBBI", *message) + attributes
        header = (16 + len(body), _NEW_ADDRESS, _REQUEST | _ACK | _CREATE | _EXCLUSIVE, 1, 0)
        netlink.send(struct.pack("=IHHII", *header) + body)
        answer = netlink.recv(_CHUNK)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind == _NETLINK_ERROR and code not in (0, -errno.EEXIST):
        raise OSError(-code, os.strerror(-code))


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"the container's network cannot be entered: {os.strerror(code)}")


def _give_up_root(user: int | None) -> None:
    if user is None:
        return
    with suppress(OSError):  # a user namespace may not have this number
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _quiet() -> None:
    """Let go of the caller's output. It has no reader any more."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)


def _start_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def _write(path: str, document: dict[str, Any]) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(document, file)
    os.replace(temporary, path)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
