# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user that a program runs as if root starts it: a number that no account has, another one for each folder.

Programs that deal with what comes from a guest or a client must not be root. They must not share a user either, or one
of them could end, trace or read another.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The first range is unused by systemd, distributions and container engines (systemd: docs/UIDS-GIDS.md). The second one
# is for containers, which often have no more than 65536 numbers. Debian's policy keeps it free.
_RANGES = ((0x70000000, 1 << 27), (65000, 520))
_SETGID, _SETUID = 1 << 6, 1 << 7  # capabilities
_READ_AND_RUN = 0o005  # for all others


def user_for(folder: Path) -> int | None:
    """Return the number of the user and the group for the program that a folder belongs to.

    It is always the same for a folder. Return None if this process is not root, or may not change its user.
    """
    if os.geteuid() != 0 or not may_change_user():
        return None
    number = int.from_bytes(hashlib.sha256(os.fsencode(folder.resolve())).digest()[:8], "big")
    first, count = next(each for each in _RANGES if _mapped(*each))
    return first + number % count


def may_change_user() -> bool:
    """Whether this process may become a user of ``_RANGES``: a container can forbid it."""
    capabilities = int(_status("CapEff") or "0", 16)
    return (
        capabilities & (_SETGID | _SETUID) == _SETGID | _SETUID
        and _read("setgroups") != "deny"
        and any(_mapped(*each) for each in _RANGES)
    )


def others_may_run(program: str) -> bool:
    """Whether every user may run a program, given by its absolute path: it and its folders are open to all."""
    path = Path(program).resolve()
    try:
        return all(each.stat().st_mode & 1 for each in path.parents) and (
            path.stat().st_mode & _READ_AND_RUN == _READ_AND_RUN
        )
    except OSError:
        return False


def python_for_others(candidates: Sequence[str] = ("/usr/bin/python3", "/usr/local/bin/python3")) -> str | None:
    """Return a Python that every user may run, with nothing but its standard library, or None.

    This process's own is often in a virtual environment in a home directory.
    """
    own = str(Path(sys.executable).resolve())
    if others_may_run(own) and others_may_run(os.__file__.replace("os.py", "")):
        return own
    return next(filter(others_may_run, candidates), None)


def _mapped(first: int, count: int) -> bool:
    """Whether the user namespace of this process has the numbers, as users and as groups."""
    return all(
        any(
            start <= first and first + count <= start + length
            for start, _outside, length in (map(int, line.split()) for line in _read(name).splitlines())
        )
        for name in ("uid_map", "gid_map")
    )


def _status(name: str) -> str:
    lines = (line.partition(":") for line in _read("status").splitlines())
    return next((value.strip() for key, _colon, value in lines if key == name), "")


def _read(name: str) -> str:
    try:
        return Path("/proc/self", name).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
