# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares what each process of a host sees and executes with the image.

A process can have a mount namespace of its own, in which another file covers a file of the image. Most services of a
distribution have one: systemd makes parts of the file system read-only, private or inaccessible for them. A mount is
normal if it shows the same file as outside of the namespace, if it hides something, or if the image declares it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Callable, Collection, Dict, Iterator, List, Optional, Set, Tuple

from ._mounts import Mount, parse_mounts, shown_at
from ._unit_files import declared_binds

MAX_PROCESSES = 10000
MAX_NAMESPACES = 500
MAX_MOUNTS = 1000  # of one namespace
MAX_BYTES = 4 * 1024 * 1024  # of one file in /proc
MAX_HIDDEN = 200  # entries in a file system that hides a part of the image
INACCESSIBLE = "/run/systemd/inaccessible"
MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Image:
    """What is known of the image and of the host's own file system.

    Attributes:
        device: of the root file system, as ``stat`` returns it.
        inodes: of the files in the root file system that were compared with the manifest.
        is_declared: whether a path is outside of the image, such as /run and ``writable`` paths.
        is_own: whether a path belongs to the service: on its data volumes or in its ``writable`` paths.
        mounts: what the comparison itself sees.
    """

    device: int
    inodes: Collection[int]
    is_declared: Callable[[str], bool]
    is_own: Callable[[str], bool]
    mounts: List[Mount]


@dataclass
class Views:
    """The result.

    Attributes:
        mounts: path in the image, and what covers it for a process.
        programs: path of a program that is not a file of the image, and the process that executes it.
        unchecked: path, and what could not be compared there.
    """

    mounts: List[Tuple[str, str]] = field(default_factory=list)
    programs: List[Tuple[str, str]] = field(default_factory=list)
    unchecked: List[Tuple[str, str]] = field(default_factory=list)


def compare_processes(image: Image, proc: str = "/proc", root: str = "/") -> Views:
    """Compare the mounts and programs of all processes with the image."""
    return _Processes(image, proc, root).run()


@dataclass(frozen=True)
class _Process:
    pid: int
    name: str
    unit: str

    def __str__(self) -> str:
        of = f" of {self.unit}" if self.unit else ""
        return f"process {self.pid} ({self.name}){of}"


class _Processes:
    def __init__(self, image: Image, proc: str, root: str) -> None:
        self._image = image
        self._proc = proc
        self._root = root
        self._views = Views()
        self._inaccessible = shown_at(INACCESSIBLE, image.mounts)
        self._own_roots: Set[str] = set()  # namespaces with another root file system
        self._reported: Set[Tuple[str, str]] = set()

    def run(self) -> Views:
        by_namespace: Dict[str, List[_Process]] = {}
        unreadable = 0
        for pid in self._all():
            try:
                os.readlink(self._path(pid, "exe"))  # threads of the kernel have none, and one has its own root
                namespace = os.readlink(self._path(pid, "ns/mnt"))
            except PermissionError:
                unreadable += 1
                continue
            except OSError:
                continue  # it has ended
            by_namespace.setdefault(namespace, []).append(self._described(pid))
        if unreadable:
            self._views.unchecked.append(("/", f"{unreadable} processes cannot be inspected"))
        if len(by_namespace) > MAX_NAMESPACES:
            self._views.unchecked.append(("/", f"only {MAX_NAMESPACES} of {len(by_namespace)} mount namespaces"))
        for namespace, processes in list(by_namespace.items())[:MAX_NAMESPACES]:
            self._check_namespace(namespace, processes)
            if namespace not in self._own_roots:
                for process in processes:
                    self._check_programs(process)
        return self._views

    def _all(self) -> List[int]:
        numbers = sorted(int(name) for name in os.listdir(self._proc) if name.isdecimal())
        if len(numbers) > MAX_PROCESSES:
            self._views.unchecked.append(("/", f"only {MAX_PROCESSES} of {len(numbers)} processes"))
        return numbers[:MAX_PROCESSES]

    def _described(self, pid: int) -> _Process:
        name = _printable(self._read(pid, "comm") or b"")
        groups = (self._read(pid, "cgroup") or b"").decode("utf-8", "replace").split("\n")
        parts = next((line[3:] for line in groups if line.startswith("0::")), "").split("/")
        unit = next((part for part in reversed(parts) if part.endswith((".service", ".scope"))), "")
        return _Process(pid, name, _printable(unit.encode()))

    def _path(self, pid: int, name: str) -> str:
        return os.path.join(self._proc, str(pid), name)

    def _read(self, pid: int, name: str) -> Optional[bytes]:
        """The content of a file of a process, or None if it has ended, must not be read or is too long."""
        try:
            with open(self._path(pid, name), "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError:
            return None
        return data if len(data) <= MAX_BYTES else None

    def _check_namespace(self, namespace: str, processes: List[_Process]) -> None:
        """Compare the mounts of one namespace, as one of its processes sees them."""
        for process in sorted(processes, key=self._is_confined):
            table = self._read(process.pid, "mountinfo")
            if table:
                break
        else:
            if any(os.path.exists(self._path(process.pid, "ns/mnt")) for process in processes):
                self._views.unchecked.append(("/", f"the mounts of {processes[0]} cannot be read"))
            return
        if table.count(b"\n") > MAX_MOUNTS:
            self._views.unchecked.append(("/", f"{process} has more than {MAX_MOUNTS} mounts"))
            return
        mounts = parse_mounts(table)
        top = [mount for mount in mounts if mount.point == "/"]
        if not top or (top[-1].device, top[-1].inside) != shown_at("/", self._image.mounts):
            self._own_roots.add(namespace)
            self._views.unchecked.append(("/", f"{process} has another root file system, such as a container"))
            return
        binds = lru_cache(maxsize=None)(partial(self._declared_binds, process.unit))
        points = {mount.point for mount in mounts}
        for mount in mounts:
            if mount.point == "/" or self._image.is_declared(mount.point):
                continue
            if not self._is_normal(mount, process, binds, points):
                found = f"{mount.type} of {mount.source} ({mount.inside}), only for {process}"
                self._views.mounts.append((mount.point, found))

    def _is_confined(self, process: _Process) -> bool:
        """Whether its root is a folder, so that it does not see all mounts."""
        try:
            return os.readlink(self._path(process.pid, "root")) != "/"
        except OSError:
            return True

    def _declared_binds(self, unit: str) -> Set[Tuple[str, str]]:
        """The sources and targets of a service's own bind mounts, as they are written and without links."""
        declared = declared_binds(unit, self._root) if unit.endswith(".service") else set()
        return {
            (source, target)
            for written in declared
            for source in (written[0], os.path.realpath(written[0]))
            for target in (written[1], os.path.realpath(written[1]))
        }

    def _is_normal(
        self, mount: Mount, process: _Process, binds: Callable[[], Set[Tuple[str, str]]], points: Set[str]
    ) -> bool:
        shown = (mount.device, mount.inside)
        outside = self._image.mounts
        if shown == shown_at(mount.point, outside):
            return True
        if mount.type in MEMORY:
            if mount.device == self._inaccessible[0]:
                folder, _slash, name = mount.inside.rpartition("/")
                if folder == self._inaccessible[1]:
                    return self._is_empty(os.path.join(self._root, INACCESSIBLE.lstrip("/"), name), set())
            elif mount.inside == "/" and self._is_empty(f"{self._path(process.pid, 'root')}{mount.point}", points):
                return True
        return any(
            shown == shown_at(source + mount.point[len(target) :], outside)
            for source, target in binds()
            if (mount.point + "/").startswith(target + "/")  # a bind mount includes the mounts below its source
        )

    def _is_empty(self, path: str, points: Set[str]) -> bool:
        """Whether there is nothing but folders and mount points, of which each is checked itself."""
        pending = [path]
        seen = 0
        prefix = len(path) - len(self._seen_as(path))
        while pending:
            at = pending.pop()
            try:
                info = os.lstat(at)
                if not stat.S_ISDIR(info.st_mode):
                    if stat.S_ISREG(info.st_mode) and info.st_size:
                        return False
                    if stat.S_ISLNK(info.st_mode):
                        return False
                    continue
                names = os.listdir(at)
            except OSError:
                return False
            seen += len(names)
            if seen > MAX_HIDDEN:
                return False
            pending += [f"{at}/{name}" for name in names if f"{at}/{name}"[prefix:] not in points]
        return True

    def _seen_as(self, path: str) -> str:
        """The path as the process itself sees it."""
        start, root, rest = path.partition("/root/")
        return "/" + rest if root and start.startswith(self._proc) else path

    def _check_programs(self, process: _Process) -> None:
        """Compare the program of a process, and what it has mapped to execute, with the files of the image."""
        exe = self._path(process.pid, "exe")
        try:
            info = os.stat(exe)
            path = os.readlink(exe)
        except OSError:
            return  # it has ended, or is a thread of the kernel
        if not self._is_compared(info.st_dev, info.st_ino):
            what = f"executed by {process}"
            if self._image.is_own(path):
                self._report(self._views.unchecked, path, f"a program {what}, outside of the image")
            else:
                self._report(self._views.programs, path, what)
        table = self._read(process.pid, "maps")
        if table is None:
            self._report(self._views.unchecked, path, f"the memory map of {process} cannot be read")
        for device, inode, mapped in set(_executable_files(table or b"")):
            if self._is_compared(device, inode) or mapped == path:
                continue
            what = f"code mapped by {process}"
            if device == self._image.device or mapped.startswith("/run/"):
                self._report(self._views.programs, mapped, what)
            else:
                self._report(self._views.unchecked, mapped, f"{what}, outside of the image")

    def _is_compared(self, device: int, inode: int) -> bool:
        return device == self._image.device and inode in self._image.inodes

    def _report(self, to: List[Tuple[str, str]], path: str, what: str) -> None:
        """Report a file once, even if several processes of a service use it."""
        key = (path, what.partition(" process ")[0])
        if key not in self._reported:
            self._reported.add(key)
            to.append((path, what))


def _executable_files(table: bytes) -> Iterator[Tuple[int, int, str]]:
    """Device, inode and path of each file in a memory map that can be executed."""
    for line in table.split(b"\n"):
        fields = line.split(None, 5)
        if len(fields) == 6 and b"x" in fields[1] and fields[4] != b"0":
            major, _colon, minor = fields[3].partition(b":")
            path = fields[5].decode("utf-8", "surrogateescape")
            yield os.makedev(int(major, 16), int(minor, 16)), int(fields[4]), path


def _printable(name: bytes) -> str:
    text = name.decode("utf-8", "replace").strip("\n")[:100]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
