# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send commands to a running HAProxy through its runtime API, over one connection.

Source: HAProxy Management Guide, https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from ..._core.errors import TrafficError

TIMEOUT = 10.0  # seconds
_PROMPT = "\n> "  # ends every answer in interactive mode


def run_commands(sock: Path, commands: Sequence[str]) -> list[str]:
    """Send commands and return the answer to each, without surrounding white space.

    Raises TrafficError if HAProxy does not answer.
    """
    try:
        text = _exchange(sock, "\n".join(["prompt", *commands, "quit"]) + "\n")
    except OSError as error:
        raise TrafficError(f"HAProxy does not answer at {sock}: {error.strerror or error}") from error
    answers = text.split(_PROMPT)[1 : len(commands) + 1]
    if len(answers) != len(commands):
        raise TrafficError(f"HAProxy closed the connection at {sock} before it had answered")
    return [answer.strip() for answer in answers]


def _exchange(sock: Path, lines: str) -> str:
    # The address of a socket is limited to 107 bytes; an open folder makes any path short.
    folder = os.open(sock.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(f"/proc/self/fd/{folder}/{sock.name}")
            connection.sendall(lines.encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
    finally:
        os.close(folder)
