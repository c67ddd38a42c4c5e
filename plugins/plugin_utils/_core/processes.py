# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Identify a process across machines and boots, find out whether it is alive, and end it."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_MACHINE_KEYS = ("host", "boot", "pids")


def process_identity() -> dict[str, Any]:
    """Return the identity of this process as plain data.

    The keys are ``host``, ``boot`` (ID of the machine's boot), ``pids`` (PID namespace), ``pid`` and ``start`` (clock
    ticks between the boot and the start of the process). A value that the system does not provide is "".
    """
    state = _process_state(os.getpid())
    machine = {"host": socket.gethostname(), "boot": _read_proc("sys/kernel/random/boot_id"), "pids": _pid_namespace()}
    return {**machine, "pid": os.getpid(), "start": state[1] if state else ""}


def process_alive(holder: Mapping[str, Any]) -> bool | None:
    """Whether the process with the identity ``holder`` is alive. A stopped process is alive, a zombie is not.

    Return None if it cannot be known, for example because the process runs on another machine.
    """
    own = process_identity()
    same_machine = all(own[key] and own[key] == holder.get(key) for key in _MACHINE_KEYS)
    if not same_machine or not isinstance(holder.get("pid"), int) or not holder.get("start"):
        return None
    try:
        os.kill(holder["pid"], 0)  # also finds processes of other users, which /proc may hide
    except ProcessLookupError:
        return False
    except OSError:
        pass
    state = _process_state(holder["pid"])
    if state is None:
        return None
    return state[0] not in ("Z", "X") and state[1] == holder["start"]


def end_process(pid: int, *steps: tuple[int, float]) -> bool:
    """Send signals to a process until it has ended. Return whether it has.

    Args:
        steps: each signal, with the seconds in which the process must end after it.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        for number, seconds in steps:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if poller.poll(seconds * 1000):
                return True
        return False
    finally:
        os.close(handle)


def process_start(pid: int) -> str | None:
    """When a process started, in clock ticks since the machine's boot, or None if there is no such process.

    With its number, this is the identity of a process: numbers are used again. A zombie has ended.
    """
    state = _process_state(pid)
    return None if state is None or state[0] in ("Z", "X") else state[1]


def _process_state(pid: int) -> tuple[str, str] | None:
    """The fields ``state`` and ``starttime`` of ``/proc/<pid>/stat`` (source: proc_pid_stat(5)), or None.

    The name of the process, which precedes them, may contain spaces and parentheses.
    """
    fields = _read_proc(f"{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def _pid_namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _read_proc(name: str) -> str:
    try:
        return (_PROC / name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
