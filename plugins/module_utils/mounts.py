# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is mounted where, as the kernel tells this process."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import List

# They hold no data of their own: what is written there is a word to the kernel.
# fmt: off
KERNEL_TYPES = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs",
    "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
))
# fmt: on


@dataclass(frozen=True)
class Mount:
    point: str  # absolute, as seen from the root that was asked for
    type: str  # of the file system
    source: str
    writable: bool

    @property
    def of_kernel(self) -> bool:
        return self.type in KERNEL_TYPES


def read_mounts(root: str = "/", table: str = "/proc/self/mountinfo") -> List[Mount]:
    """The mounts at and below ``root``, in the order in which they were made. Raises OSError."""
    prefix = os.path.realpath(root).rstrip("/")
    with open(table, "rb") as file:
        mounts = [_parse(os.fsdecode(line)) for line in file.read().splitlines()]
    return [
        Mount(mount.point[len(prefix) :] or "/", mount.type, mount.source, mount.writable)
        for mount in mounts
        if mount.point == (prefix or "/") or mount.point.startswith(prefix + "/")
    ]


def _parse(line: str) -> Mount:
    before, _separator, after = line.partition(" - ")
    point, options = before.split(" ")[4:6]
    kind, source, super_options = after.split(" ")[:3]
    # Both the mount and what is mounted can be read-only.
    writable = "ro" not in options.split(",") and "ro" not in super_options.split(",")
    return Mount(_unescaped(point), kind, _unescaped(source), writable)


def _unescaped(text: str) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), os.fsencode(text)))
