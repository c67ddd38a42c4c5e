# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rights that a QEMU on this machine has: as few as its guest needs.

A guest that breaks out of the emulation has the rights of QEMU's process. So QEMU filters its own system calls, and is
not root even if root started it.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .._core.programs import find_program
from .._core.unprivileged import may_change_user, others_may_run, python_for_others, user_for

KVM = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
_SANDBOX = "on,obsolete=deny,resourcecontrol=deny"
_READ_AND_WRITE = 0o6
_PROBE_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class Rights:
    """What QEMU may do.

    Attributes:
        options: QEMU's options.
        user: number of the user and the group that it is started as, or None to stay the same user.
        groups: more groups of that user.
    """

    options: tuple[str, ...]
    user: int | None = None
    groups: tuple[int, ...] = ()


def rights_for(folder: Path, *, kvm: bool, spawns: bool) -> Rights:
    """Return the rights of the QEMU that the machine in a folder runs in.

    Args:
        kvm: whether it uses hardware virtualization.
        spawns: whether it starts a program for each connection to a declared address.
    """
    user = user_for(folder)
    if user is not None and not (others_may_run(find_program(QEMU) or QEMU) and (python_for_others() or not spawns)):
        user = None
    groups = kvm_groups() if kvm else []
    if user is not None and groups is None:
        # Only root can open /dev/kvm: QEMU does, and becomes another user afterwards.
        return Rights(tuple(giving_up_root(user, spawns=spawns)))
    return Rights(tuple(sandbox(spawns=spawns)), user, tuple(groups or ()))


def sandbox(*, spawns: bool = False, changes_user: bool = False) -> list[str]:
    """Return QEMU's options for the filter of its system calls, or none if this QEMU or kernel has no such filter.

    Args:
        spawns: whether it starts programs, as it does for each connection to a declared address.
        changes_user: whether it gives up root by itself. Afterwards it has no rights to regain any.
    """
    if not _has_filter(find_program(QEMU) or QEMU):
        return []
    # A program that it starts becomes the leader of a session, which the filter counts as a privilege. Nothing can be
    # gained by the others: the filter itself keeps QEMU from getting rights by running programs.
    rules = {"spawn": spawns, "elevateprivileges": changes_user or spawns}
    return ["-sandbox", ",".join([_SANDBOX, *(f"{rule}={'allow' if on else 'deny'}" for rule, on in rules.items())])]


def giving_up_root(user: int | None, *, spawns: bool = False) -> list[str]:
    """Return the options of a QEMU that opens what it needs as root and then becomes another user, with its filter.

    Args:
        user: number of the user and the group, or None to stay the same user.
        spawns: see ``sandbox``.
    """
    become = [] if user is None else ["-runas", f"{user}:{user}"]
    return [*sandbox(spawns=spawns, changes_user=user is not None), *become]


def kvm_groups() -> list[int] | None:
    """Return the groups that a user needs to open ``/dev/kvm``, or None if only root can."""
    try:
        state = KVM.stat()
    except OSError:
        return None
    if state.st_mode & _READ_AND_WRITE == _READ_AND_WRITE:
        return []
    by_group = state.st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP | stat.S_IWGRP
    return [state.st_gid] if by_group and state.st_gid != 0 else None


def confinement_warnings() -> list[str]:
    """Say which of QEMU's rights could not be taken away on this machine, and what helps."""
    qemu = find_program(QEMU) or QEMU
    found = []
    if not _has_filter(qemu):
        found.append(f"{QEMU} cannot filter its system calls here (-sandbox): install a QEMU with seccomp support")
    if os.geteuid() != 0:
        return found
    if not may_change_user():
        found.append(
            "virtual machines run as root: this process may not change its user; run it as another user, "
            "or with the capabilities CAP_SETUID and CAP_SETGID"
        )
    elif not others_may_run(qemu):
        found.append(f"virtual machines run as root: other users may not run {qemu}")
    elif python_for_others() is None:
        found.append(
            "virtual machines with reach run as root: there is no Python that other users may run (/usr/bin/python3)"
        )
    return found


@lru_cache
def _has_filter(qemu: str) -> bool:
    try:
        # The filter is installed before the models of processors are listed.
        argv = [qemu, "-sandbox", f"{_SANDBOX},spawn=deny,elevateprivileges=deny", "-cpu", "help"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
