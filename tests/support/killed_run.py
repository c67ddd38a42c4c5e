# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kills a program as soon as what it started runs, and checks that this ends, too."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .waiting import PATIENCE


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Where a process of the program sends a JSON list of process ids."""
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(3 * PATIENCE)
        yield inside


def kill_once_reported(
    inside: socket.socket,
    command: Sequence[str | Path],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> list[int]:
    """Run a program and kill it once it has reported processes. Return handles of these, without the program's own.

    All of them ran when it was killed.
    """
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=quiet, stderr=quiet) as run:
        try:
            connection, _address = inside.accept()
            with connection:
                pids = json.loads(connection.recv(1000))
            started = [os.pidfd_open(pid) for pid in pids if pid != run.pid]
            assert select.select(started, [], [], 0) == ([], [], [])
        finally:
            run.kill()
    return started


def assert_they_end(handles: Sequence[int]) -> None:
    """Each process ends within ``PATIENCE`` seconds."""
    for process in handles:
        assert select.select([process], [], [], PATIENCE)[0] == [process]
        os.close(process)
