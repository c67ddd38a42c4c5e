# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is mounted where, as the kernel tells this process."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

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


def read_mounts(root: str = "/", table: str = "/proc/self/mountinfo") -> list[Mount]:
    """The mounts at and below ``root`` that can be seen, in the order in which they were made. Raises OSError."""
    prefix = os.path.realpath(root).rstrip("/")
    with open(table, "rb") as file:
        rows = [_Row.parse(os.fsdecode(line)) for line in file.read().splitlines()]
    by_id = {row.id: row for row in rows}
    seen = [row.mount for row in rows if not _hidden(row, rows, by_id)]
    return [
        replace(mount, point=mount.point[len(prefix) :] or "/")
        for mount in seen
        if (mount.point + "/").startswith(prefix + "/")
    ]


@dataclass(frozen=True)
class _Row:
    id: str
    parent: str  # the id of the mount on which it is mounted
    mount: Mount

    @classmethod
    def parse(cls, line: str) -> _Row:
        before, _separator, after = line.partition(" - ")
        number, parent, _device, _inside, point, options = before.split(" ")[:6]
        kind, source, super_options = after.split(" ")[:3]
        # Both the mount and what is mounted can be read-only.
        writable = "ro" not in options.split(",") and "ro" not in super_options.split(",")
        return cls(number, parent, Mount(_unescaped(point), kind, _unescaped(source), writable))


def _hidden(row: _Row, rows: list[_Row], by_id: dict[str, _Row]) -> bool:
    """Whether something was mounted later, on the same mount, over a folder that leads to this one."""
    if any(
        each.parent == row.parent and row.mount.point.startswith(each.mount.point.rstrip("/") + "/") and each is not row
        for each in rows
    ):
        return True
    parent = by_id.get(row.parent)
    return parent is not None and parent is not row and _hidden(parent, rows, by_id)


def _unescaped(text: str) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), os.fsencode(text)))
