# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Linux capabilities that an instance on the provider container may have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# What systemd as the first process needs to start services as their users. It is also what podman gives by default.
SYSTEMD_CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
# What a capability that is not allowed would make possible.
REFUSED_CAPABILITIES: Final = {
    "BPF": "loads programs into the kernel of this machine",
    "CHECKPOINT_RESTORE": "replaces what a running process executes",
    "DAC_READ_SEARCH": "opens files of this machine by their numbers, outside the container",
    "LINUX_IMMUTABLE": "protects files on data volumes from their next owner",
    "MAC_ADMIN": "changes the rules that confine containers",
    "MAC_OVERRIDE": "disregards the rules that confine containers",
    "MKNOD": "creates device files, which lead past the read-only root to the disks of this machine",
    "NET_ADMIN": "changes the network, which limits what a container can reach",
    "PERFMON": "observes other processes of this machine",
    "SYSLOG": "reads the messages of this machine's kernel",
    "SYS_ADMIN": "mounts file systems, so root could make the root writable again",
    "SYS_BOOT": "restarts this machine",
    "SYS_MODULE": "loads modules into the kernel of this machine",
    "SYS_NICE": "takes processor time from everything else on this machine",
    "SYS_PACCT": "changes the accounting of this machine",
    "SYS_PTRACE": "changes the memory of processes that have more rights",
    "SYS_RAWIO": "writes to the memory and the disks of this machine",
    "SYS_RESOURCE": "lifts the limits of a container",
    "SYS_TIME": "sets the clock of this machine",
    "SYS_TTY_CONFIG": "changes the consoles of this machine",
}


def granted_capabilities(command: Sequence[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Return the capabilities of an instance, sorted: what it needs in any case, and what the definition declares.

    Args:
        command: the definition's ``image.command``; empty if systemd is the first process.
        declared: the definition's ``seal.capabilities``.
    """
    return tuple(sorted({*(() if command else SYSTEMD_CAPABILITIES), *declared}))
