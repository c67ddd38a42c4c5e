# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kills what a test run leaves running, however the run ends.

A run marks its environment, and every process it starts inherits the mark. This file, run as a program, waits until the
run ends and then kills each process that has the mark. It waits on the process itself and not on a pipe, because a
forked child would keep a pipe open.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "IMMUTABLE_TEST_RUN"  # the marks of this run and of the runs around it
ROUNDS = 20  # a process may start another one while we look
SECONDS = 5.0  # until a killed process is gone

_reapers: list[subprocess.Popen[bytes]] = []


def reap() -> None:
    """Every process that this one starts from now on, directly or not, is killed when this one ends."""
    mark = secrets.token_hex(8)
    os.environ[VARIABLE] = " ".join(filter(None, [os.environ.get(VARIABLE), mark]))
    command = [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), mark]
    quiet = subprocess.DEVNULL
    # A session of its own: the signal that ends the run must not end the reaper.
    # An empty environment: the reaper of an outer run must not kill this one.
    _reapers.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env={}, start_new_session=True))


def wait_for(pid: int) -> None:
    """Return when the process has ended."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([process], [], [])
    os.close(process)


def marked(mark: str) -> tuple[list[int], bool]:
    """The processes that have the mark, but not this one, and whether there are some that may get it.

    A process that starts another program has neither arguments nor an environment for a moment. It is not ours if that
    lasts: a program can be started without both.
    """
    found, undecided = [], False
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            text = (folder / "environ").read_bytes()
            if not text and not (folder / "cmdline").read_bytes():
                (folder / "exe").readlink()  # the kernel's own processes and those that have ended have no program
                undecided = True
        except OSError:
            continue  # it has ended, or it belongs to another user
        variables = text.split(b"\0")
        marks = next((each for each in variables if each.startswith(f"{VARIABLE}=".encode())), b"")
        if mark.encode() in marks.partition(b"=")[2].split():
            found.append(int(folder.name))
    return found, undecided


def kill(pid: int) -> None:
    """Kill the process and wait until it is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], SECONDS)
    except ProcessLookupError:
        pass
    finally:
        os.close(process)


def main(run: int, mark: str, child: bool = True) -> None:
    """Wait until a process ends, then kill everything that has the mark.

    Args:
        child: whether this process is its child, which says that it still runs.
    """
    if not child or os.getppid() == run:  # otherwise it ended before we started
        wait_for(run)
    kill_marked(mark)


def kill_marked(mark: str) -> None:
    """Kill every process that has the mark, but not this one."""
    deadline = time.monotonic() + SECONDS
    rounds = 0
    while rounds < ROUNDS:
        found, undecided = marked(mark)
        for pid in found:
            kill(pid)
        if found:
            rounds += 1
        elif not undecided or time.monotonic() > deadline:
            return
        else:
            select.select([], [], [], 0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
