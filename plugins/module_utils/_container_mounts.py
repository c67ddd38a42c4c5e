# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Explains the mounts of a container. Nothing in a sealed container can mount, so any other mount came from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Sequence, Tuple

from ._mounts import Mount

MEMORY = "tmpfs"
KERNEL = ("/dev", "/proc", "/sys")  # where an engine mounts interfaces of the kernel, and hides parts of them
READ_ONLY = ("/sys", "/proc/sys")
# Files and folders that an engine writes for each container.
OF_ENGINE = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets")
# In memory, in a container whose first process is systemd.
OF_SYSTEMD = ("/run", "/run/lock", "/tmp", "/var/log/journal", "/var/tmp")  # noqa: S108  paths in the container
LAUNCH = ("/run/host/immutable/launch.tar", "/run/immutable")  # what a launch hands over


@dataclass(frozen=True)
class Expected:
    """What a container was launched with.

    Attributes:
        pid: of its first process.
        id: that the engine gave it.
        capabilities: that its processes may have, such as "CHOWN".
        tmpfs: the options that each tmpfs must have, by path.
        data: paths of its data volumes.
        options: the options that each mount must have, by path.
        systemd: whether systemd is its first process.
        upper: the folder of its own layer of files, '' if it has none or it is unknown.
    """

    pid: int
    id: str
    capabilities: Sequence[str] = ()
    tmpfs: Dict[str, List[str]] = field(default_factory=dict)
    data: Sequence[str] = ()
    options: Dict[str, List[str]] = field(default_factory=dict)
    systemd: bool = False
    upper: str = ""


def unexplained(mounts: Sequence[Mount], expected: Expected) -> Iterator[Tuple[str, str]]:
    """Yield the mounts that are not of the engine or the launch, each with its path and a description."""
    seen = set()
    for mount in mounts:
        if not _is_explained(mount, expected):
            yield mount.point, f"{mount.type} of {mount.source} ({mount.inside})"
        elif mount.point in seen and not _is_below(mount.point, KERNEL):
            yield mount.point, f"a second mount, {mount.type} of {mount.source} ({mount.inside})"
        seen.add(mount.point)


def lacking_options(mounts: Sequence[Mount], expected: Expected) -> Iterator[Tuple[str, List[str], List[str]]]:
    """Yield each mount that lacks options, with those that it must have and those of them that it has."""
    required = {**expected.options, **expected.tmpfs}
    for mount in mounts:
        options = required.get(mount.point, [])
        if not mount.options.issuperset(options):
            yield mount.point, options, [option for option in options if option in mount.options]


def writable_kernel(mounts: Sequence[Mount]) -> Iterator[str]:
    """Yield the kernel's settings that are writable."""
    for mount in mounts:
        if mount.point in READ_ONLY and "ro" not in mount.options:
            yield mount.point


def _is_explained(mount: Mount, expected: Expected) -> bool:
    if mount.point == "/":
        return True
    if _is_below(mount.point, KERNEL):
        return mount.of_kernel or mount.type == MEMORY
    if mount.point in expected.tmpfs or (expected.systemd and mount.point in OF_SYSTEMD):
        return mount.type == MEMORY and mount.inside == "/"
    if mount.point in OF_ENGINE:
        # podman: .../<id>/userdata/hosts, docker: .../<id>/hosts
        name = mount.point.rpartition("/")[2]
        folder = mount.inside.rpartition("/")[0]
        owner = folder[: -len("/userdata")] if folder.endswith("/userdata") else folder
        return mount.inside.endswith("/" + name) and owner.endswith("/" + expected.id) or name == "secrets"
    return mount.point in expected.data or mount.point in LAUNCH


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any((path + "/").startswith(folder + "/") for folder in folders)
