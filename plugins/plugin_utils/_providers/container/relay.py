# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program that connects a container without a network: a relay between two networks.

It listens on this machine's loopback and connects inside the container's network namespace. For addresses that the
container may reach it is the other way around. It is a program of its own, because it outlives the run that started
it. It uses the standard library only, ends with the container, and gives up root once it is inside.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

LOOPBACK = "127.0.0.1"
_CLONE_NEWNET = 0x40000000
_CHUNK = 65536  # bytes of one read
_BACKLOG = 1024
# rtnetlink(7)
_NEW_ADDRESS, _NETLINK_ERROR = 20, 2
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_STARTED = b"+"


def main(text: str) -> int:
    """Start relaying and return once it works.

    Args:
        text: JSON object with ``pid`` and ``start`` of the container's first process, ``ports`` (for each port of the
            container, as text, the port of this machine to listen at; 0, or one that is taken, for any), ``reach`` (for
            each ``address:port`` inside, ``host:port`` outside), ``user`` (number of the user and group to become, or
            null), ``document`` (path of the file that describes the relay), ``reach_source`` (a program) and
            ``traffic_source`` (the module ``relay_traffic``).
    """
    config = json.loads(text)
    "".encode("idna")  # reads the codec: names of hosts are resolved later, perhaps without the right to read it
    container = os.pidfd_open(config["pid"])
    if _start_of(config["pid"]) != config["start"]:
        raise ProcessLookupError(errno.ESRCH, "the container has ended")
    network = os.open(f"/proc/{config['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if select.select([container], [], [], 0)[0]:  # its number, and so this network, may be another process's by now
        raise ProcessLookupError(errno.ESRCH, "the container has ended")
    listeners = {int(port): _listen(LOOPBACK, wanted) for port, wanted in config["ports"].items()}
    inside = _listeners_inside(network, list(config["reach"]))
    result, report = os.pipe()
    if os.fork():
        os.close(report)
        return 0 if os.read(result, 1) == _STARTED else 1
    os.setsid()
    os.chdir("/")
    traffic: dict[str, Any] = {"__name__": "traffic"}
    exec(config["traffic_source"], traffic)  # noqa: S102  the source of this collection's own module
    program = compile(config["reach_source"], "reach", "exec")
    ours, theirs = socket.socketpair()
    if inside and os.fork() == 0:
        ours.close()
        os.close(report)
        os.setpgid(0, 0)
        _give_up_root(config["user"])
        _quiet()
        targets = {each.fileno(): config["reach"][seen].rpartition(":") for seen, each in inside.items()}
        traffic["Outward"](list(inside.values()), targets, program).serve(container, theirs)
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
    traffic["Inward"]({each: port for port, each in listeners.items()}).serve(container, ours if inside else None)
    os._exit(0)


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
