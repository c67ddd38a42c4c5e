# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell a process apart from all others, and whether it can still do anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_OF_MACHINE = ("host", "boot", "pids")


def identity() -> dict[str, Any]:
    """This process as plain data: its ``host``, ``boot`` (id of the machine's boot), ``pids`` (PID namespace), ``pid`` and ``start`` (clock ticks).

    What the system does not tell is "".
    """
    state = _state(os.getpid())
    machine = {"host": socket.gethostname(), "boot": _text("sys/kernel/random/boot_id"), "pids": _namespace()}
    return {**machine, "pid": os.getpid(), "start": state[1] if state else ""}


def alive(holder: Mapping[str, Any]) -> bool | None:
    """Whether the process that ``identity`` told lives, a stopped one included. None where that cannot be known from here."""
    mine = identity()
    here = all(mine[part] and mine[part] == holder.get(part) for part in _OF_MACHINE)
    if not here or not isinstance(holder.get("pid"), int) or not holder.get("start"):
        return None
    try:
        os.kill(holder["pid"], 0)  # finds processes of others too, where /proc may hide them
    except ProcessLookupError:
        return False
    except OSError:
        pass
    state = _state(holder["pid"])
    if state is None:
        return None
    return state[0] not in ("Z", "X") and state[1] == holder["start"]


def _state(pid: int) -> tuple[str, str] | None:
    """Its state and start of ``/proc/<pid>/stat``; the name before them may hold spaces and brackets."""
    fields = _text(f"{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def _namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _text(name: str) -> str:
    try:
        return (_PROC / name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
