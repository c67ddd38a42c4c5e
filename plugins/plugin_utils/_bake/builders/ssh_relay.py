# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets Packer reach the build machine through a program: Packer itself knows SOCKS proxies, but no proxy commands."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..._core.errors import BakeError, ImmutableError

# RFC 1928, and RFC 1929 for the password.
_VERSION, _PASSWORD_VERSION, _BY_PASSWORD, _NO_METHOD = 5, 1, 2, 0xFF
_CONNECT, _IPV4, _NAME, _IPV6 = 1, 1, 3, 4
_SUCCEEDED, _FAILED = b"\x05\x00\x00\x01" + bytes(6), b"\x05\x01\x00\x01" + bytes(6)
_USER = "packer"
_HANDSHAKE = 30.0  # seconds
_CHUNK = 65536
_STOPPING = 5.0  # seconds until a program that does not end is killed


class SshRelay:
    """A SOCKS proxy on the loopback that starts a program for each connection. Only who knows its password may use it.

    Args:
        command: returns the program and its arguments for a host and a port. May raise ImmutableError.
    """

    def __init__(self, command: Callable[[str, int], Sequence[str]]) -> None:
        self._command = command
        self._password = secrets.token_hex(16)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._programs: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False
        self.problem = ""  # why the last connection failed

    @property
    def settings(self) -> dict[str, Any]:
        """The options of Packer's SSH communicator."""
        host, port = self._server.getsockname()
        return {
            "ssh_proxy_host": host,
            "ssh_proxy_port": port,
            "ssh_proxy_username": _USER,
            "ssh_proxy_password": self._password,
        }

    @contextmanager
    def running(self) -> Iterator[SshRelay]:
        """Serve connections. At the end all programs are stopped."""
        threading.Thread(target=self._serve, daemon=True).start()
        try:
            yield self
        finally:
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            programs = list(self._programs)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for program in programs:
            program.terminate()
        for program in programs:
            try:
                program.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError, ValueError):
            client.settimeout(_HANDSHAKE)
            host, port = _handshake(client, self._password)
            program = self._start(host, port)
            client.sendall(_SUCCEEDED if program else _FAILED)
            client.settimeout(None)
            if program:
                _join(client, program)

    def _start(self, host: str, port: int) -> subprocess.Popen[bytes] | None:
        try:
            command = list(self._command(host, port))
            with self._lock:
                if self._closed:
                    return None
                # Its input ends with this process, so it ends, too.
                program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self._programs.append(program)
        except (ImmutableError, OSError) as error:
            self.problem = f"the proxy command for {host}:{port} did not start: {error}"
            return None
        return program


@contextmanager
def relayed(relay: SshRelay) -> Iterator[Mapping[str, Any]]:
    """Serve connections and yield the options of Packer. A failed bake's message says what failed in the relay."""
    with relay.running():
        try:
            yield relay.settings
        except BakeError as error:
            raise BakeError(f"{error.message} ({relay.problem})" if relay.problem else error.message) from error


def _handshake(client: socket.socket, password: str) -> tuple[str, int]:
    """The host and port that the client asks for. Raises ValueError for anything but a connection with the password."""
    version, count = _receive(client, 2)
    methods = _receive(client, count)
    if version != _VERSION or _BY_PASSWORD not in methods:
        client.sendall(bytes((_VERSION, _NO_METHOD)))
        raise ValueError("no password")
    client.sendall(bytes((_VERSION, _BY_PASSWORD)))
    _receive(client, 1)
    user = _receive(client, _receive(client, 1)[0])
    given = _receive(client, _receive(client, 1)[0])
    right = user == _USER.encode() and hmac.compare_digest(given, password.encode())
    client.sendall(bytes((_PASSWORD_VERSION, 0 if right else 1)))
    if not right:
        raise ValueError("wrong password")
    version, command, _reserved, kind = _receive(client, 4)
    if (version, command) != (_VERSION, _CONNECT) or kind not in (_IPV4, _NAME, _IPV6):
        client.sendall(_FAILED)
        raise ValueError("not a connection")
    if kind == _NAME:
        host = _receive(client, _receive(client, 1)[0]).decode("ascii")
    else:
        host = str(ipaddress.ip_address(_receive(client, 4 if kind == _IPV4 else 16)))
    return host, int.from_bytes(_receive(client, 2), "big")


def _receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _join(client: socket.socket, program: subprocess.Popen[bytes]) -> None:
    """Copy bytes in both directions until one side ends."""
    source, sink = program.stdout, program.stdin
    if source is None or sink is None:
        return

    def upward() -> None:
        with suppress(OSError, ValueError):
            while data := client.recv(_CHUNK):
                sink.write(data)
                sink.flush()
        with suppress(OSError, ValueError):
            sink.close()

    thread = threading.Thread(target=upward, daemon=True)
    thread.start()
    with suppress(OSError, ValueError):
        while data := source.read1(_CHUNK):  # type: ignore[attr-defined]
            client.sendall(data)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    thread.join()
    program.terminate()
    program.wait()
