# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program that starts QEMU in its own session, with as few rights as its caller says.

QEMU's own ``-daemonize`` is no choice: a process that may not start others cannot become a daemon. The number of the
process is on disk before QEMU exists, so that no run can be killed at a moment when a machine runs unnoticed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any

_NOT_STARTED = 127


def main(text: str) -> None:
    """Start QEMU and return as soon as its number is recorded. Its errors go to standard error.

    Args:
        text: JSON object with ``argv`` (list), ``pid_file`` (relative to the working folder, the machine's), ``user``
            (number of the user and the group, or null to stay the same user), ``groups`` (more groups of that user),
            ``lifeline`` (descriptor of a pipe whose other end the caller holds, or null). Without the caller, QEMU is
            killed if there is a lifeline, and goes on otherwise.
    """
    config = json.loads(text)
    lifeline = config["lifeline"]
    recorded, record = os.pipe()  # in the program that runs as QEMU, both ends are closed
    if lifeline is not None and os.fork():
        os.close(record)
        os.read(recorded, 1)
        os._exit(0)
    child = os.fork()
    if child == 0:
        _become_qemu(config)
    os.close(record)
    os.read(recorded, 1)
    if lifeline is not None:
        _watch(lifeline, child)
    os._exit(0)


def _become_qemu(config: dict[str, Any]) -> None:
    """Record this process's number and run QEMU in it."""
    argv = config["argv"]
    try:
        os.setsid()
        os.umask(0o077)
        _record(config["pid_file"])
        if config["lifeline"] is not None:
            os.close(config["lifeline"])
        os.chdir("/")
        user = config["user"]
        if user is not None:
            os.setgroups(config["groups"])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(_NOT_STARTED)


def _record(pid_file: str) -> None:
    temporary = f".{pid_file}.new"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    os.replace(temporary, pid_file)


def _watch(lifeline: int, child: int) -> None:
    """Kill the child once the caller has ended."""
    os.setsid()
    os.chdir("/")
    # The locks of the disks, the socket and the caller's pipe belong to QEMU alone.
    moved = os.dup2(lifeline, 3) if lifeline != 3 else lifeline
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > moved:
            with suppress(OSError):  # the list itself
                os.close(number)
    ended = os.pidfd_open(child)
    ready, _write, _errors = select.select([moved, ended], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)  # it is not reaped yet, so no other process has its number
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
