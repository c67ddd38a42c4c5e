# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mounts that this process sees."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import FrozenSet

# File systems without data of their own: a write to them is a request to the kernel.
# fmt: off
KERNEL_TYPES = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs",
    "tracefs",
))
# fmt: on


@dataclass(frozen=True)
class Mount:
    """One mount.

    Attributes:
        point: absolute path, relative to the root that was passed to ``read_mounts``.
        type: of the file system.
        device: of the file system, ``<major>:<minor>``.
        inside: the path in the file system that is mounted.
        options: of this mount, such as "nosuid".
    """

    point: str
    type: str
    source: str
    writable: bool
    device: str = ""
    inside: str = "/"
    options: FrozenSet[str] = frozenset()

    @property
    def of_kernel(self) -> bool:
        """Whether the file system is an interface of the kernel."""
        return self.type in KERNEL_TYPES


def read_mounts(root: str = "/", table: str = "/proc/self/mountinfo") -> list[Mount]:
    """Return the visible mounts at and below ``root``, oldest first. Raises OSError."""
    with open(table, "rb") as file:
        return parse_mounts(file.read(), os.path.realpath(root).rstrip("/"))


def parse_mounts(table: bytes, prefix: str = "") -> list[Mount]:
    """Return the visible mounts at and below the folder ``prefix``, oldest first.

    Args:
        table: content of a file ``mountinfo``.
        prefix: absolute path without a final slash, '' for the whole file system.
    """
    rows = [_Row.parse(os.fsdecode(line)) for line in table.split(b"\n") if line]
    by_id = {row.id: row for row in rows}
    visible = [row.mount for row in rows if not _hidden(row, rows, by_id)]
    return [
        replace(mount, point=mount.point[len(prefix) :] or "/")
        for mount in visible
        if (mount.point + "/").startswith(prefix + "/")
    ]


@dataclass(frozen=True)
class _Row:
    id: str
    parent: str  # id of the mount that this one is mounted on
    mount: Mount

    @classmethod
    def parse(cls, line: str) -> _Row:
        before, _separator, after = line.partition(" - ")
        number, parent, device, inside, point, options = before.split(" ")[:6]
        kind, source, super_options = after.split(" ")[:3]
        # The mount and the file system can be read-only.
        writable = "ro" not in options.split(",") and "ro" not in super_options.split(",")
        mount = Mount(
            point=unescaped(point),
            type=kind,
            source=unescaped(source),
            writable=writable,
            device=device,
            inside=unescaped(inside),
            options=frozenset(options.split(",")),
        )
        return cls(number, parent, mount)


def _hidden(row: _Row, rows: list[_Row], by_id: dict[str, _Row]) -> bool:
    """Whether another mount covers a folder that contains this one."""
    if any(
        other.parent == row.parent
        and other is not row
        and row.mount.point.startswith(other.mount.point.rstrip("/") + "/")
        for other in rows
    ):
        return True
    parent = by_id.get(row.parent)
    return parent is not None and parent is not row and _hidden(parent, rows, by_id)


def unescaped(text: str) -> str:
    """Return a field of fstab or of the kernel's tables of mounts, in which some bytes are octal numbers."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), os.fsencode(text)))


def shown_at(path: str, mounts: list[Mount]) -> tuple[str, str]:
    """Return the device and the path in its file system that ``mounts`` show at an absolute path."""
    mount = max(
        (mount for mount in mounts if (path.rstrip("/") + "/").startswith(mount.point.rstrip("/") + "/")),
        key=lambda mount: len(mount.point),
        default=None,
    )
    if mount is None:
        return ("", path)
    below = path[len(mount.point.rstrip("/")) :].strip("/")
    return (mount.device, f"{mount.inside.rstrip('/')}/{below}".rstrip("/") or "/")
