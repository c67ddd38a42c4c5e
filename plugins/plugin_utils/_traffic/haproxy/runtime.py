# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send commands to a running HAProxy through its runtime API, over one connection.

Source: HAProxy Management Guide, https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from ..._core.errors import TrafficError

TIMEOUT = 10.0  # seconds
_PAUSE = 0.02  # seconds between two connections
_PROMPT = b"\n> "  # ends every answer in interactive mode
_PID = re.compile(rb"^Pid: ([0-9]+)$", re.MULTILINE)


def run_commands(sock: Path, commands: Sequence[str], pid: int) -> list[str]:
    """Send commands to the HAProxy with this pid and return the answer to each, without surrounding white space.

    After a takeover, two processes accept connections at the socket for a moment. The one that answers is asked for its
    pid over the same connection before it gets a command.

    Raises TrafficError if that process does not answer.
    """
    deadline = time.monotonic() + TIMEOUT
    try:
        while (answers := _exchange(sock, commands, pid)) is None:
            if time.monotonic() > deadline:
                raise TrafficError(f"Another process than HAProxy's process {pid} answers at {sock}")
            time.sleep(_PAUSE)
    except OSError as error:
        raise TrafficError(f"HAProxy does not answer at {sock}: {error.strerror or error}") from error
    return answers


def _exchange(sock: Path, commands: Sequence[str], pid: int) -> list[str] | None:
    """The answers, or None if another process accepted the connection: it got no command."""
    # The address of a socket is limited to 107 bytes; an open folder makes any path short.
    folder = os.open(sock.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(f"/proc/self/fd/{folder}/{sock.name}")
            if _pid_of_peer(connection) != pid:
                return None
            connection.sendall("".join(f"{command}\n" for command in [*commands, "quit"]).encode())
            answers = _read_answers(connection, len(commands))
    finally:
        os.close(folder)
    if len(answers) != len(commands):
        raise TrafficError(f"HAProxy closed the connection at {sock} before it had answered")
    return [answer.decode(errors="replace").strip() for answer in answers]


def _pid_of_peer(connection: socket.socket) -> int | None:
    """The pid of the process at the other end, or None if it ends the connection."""
    try:
        connection.sendall(b"prompt\nshow info\n")
        info = b"".join(_read_answers(connection, 2))
    except (BrokenPipeError, ConnectionResetError):
        return None
    found = _PID.search(info)
    return int(found[1]) if found else None


def _read_answers(connection: socket.socket, count: int) -> list[bytes]:
    """Read ``count`` answers, or fewer if the connection ends. Nothing may follow them that is needed."""
    read = b""
    while read.count(_PROMPT) < count and (part := connection.recv(65536)):
        read += part
    return read.split(_PROMPT)[:-1][:count]
