# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare a running host with the manifest of its image. Only differences come back.

The root file system is read whole: every entry's type, mode and owner, every file's content, every link's target. What is
mounted over it is either declared, and then not looked into, or a difference of its own.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from ._mounts import Mount, read_mounts

SCHEMA = 1
THREADS = 2  # hashing leaves Python's lock; more would take the host's processors from its service
BLOCK = 1024 * 1024
# The system's own places: devices, kernel interfaces and what dies with the boot.
SYSTEM = ("/dev", "/proc", "/run", "/sys")
PROBED = ("/", "/etc", "/usr")
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Difference:
    kind: str  # changed, missing, added, mode, owner, type, link, covering, unexpected_writable
    path: str
    expected: str = ""
    found: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain text: a name that is not UTF-8 is shown with escapes."""
        return {key: _shown(value) for key, value in asdict(self).items() if value}


@dataclass
class Comparison:
    differences: list[Difference] = field(default_factory=list)
    checked: int = 0  # entries that were compared
    refused: list[str] = field(default_factory=list)  # places where writing was tried and refused


def compare(manifest: dict[str, Any], root: str = "/", mountinfo: str = "/proc/self/mountinfo") -> Comparison:
    """Compare the file system at ``root``, and what is mounted on it, with a manifest.

    Args:
        manifest: ``{"schema": 1, "files": {path: [type, mode in octal, uid, gid, size, sha256 | target | device]},
            "covers": [path], "data": [path], "writable": [path], ...}``; paths are absolute and as seen from ``root``.

    Raises ValueError for a manifest of another shape, OSError where ``root`` cannot be read.
    """
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or not isinstance(manifest.get("files"), dict)
    ):
        raise ValueError(f"the manifest is not one of schema {SCHEMA}")
    return _Run(manifest, root, read_mounts(root, mountinfo)).run()


class _Run:
    def __init__(self, manifest: dict[str, Any], root: str, mounts: list[Mount]) -> None:
        self._files = manifest["files"]
        self._root = root
        self._declared = {
            *SYSTEM,
            *(path for key in ("covers", "data", "writable") for path in manifest.get(key) or []),
        }
        self._mounts = mounts
        self._points = {mount.point for mount in mounts} - {"/"}
        self._result = Comparison()
        self._unread: list[tuple[str, os.stat_result, str]] = []  # files that differ in nothing but, perhaps, content

    def run(self) -> Comparison:
        self._check_mounts()
        self._try_to_write()
        seen = set(self._walk())
        for path in self._files:
            if path not in seen and not self._covered(path):
                self._differ("missing", path)
        self._hash()
        self._result.differences.sort(key=lambda each: (each.path, each.kind))
        return self._result

    def _differ(self, kind: str, path: str, expected: str = "", found: str = "") -> None:
        self._result.differences.append(Difference(kind, path, expected, found))

    def _check_mounts(self) -> None:
        if not os.statvfs(self._root).f_flag & os.ST_RDONLY:
            self._differ("unexpected_writable", "/", "ro", "rw")
        roots = [mount for mount in self._mounts if mount.point == "/"]
        if len(roots) > 1 or any(mount.type == "overlay" for mount in roots):
            self._differ("covering", "/", found=", ".join(mount.type for mount in roots))
        for mount in self._mounts:
            if mount.point == "/" or self._is_declared(mount.point):
                continue
            self._differ("covering", mount.point, found=f"{mount.type} of {mount.source}")
            if mount.writable and not mount.of_kernel:
                self._differ("unexpected_writable", mount.point, "ro", "rw")

    def _try_to_write(self) -> None:
        """Read-only flags are a promise; this is the proof. Where it succeeds, the nameless file is gone at once."""
        for place in PROBED:
            full = self._full(place)
            if self._covered(place) or not os.path.isdir(full):
                continue
            try:
                with tempfile.TemporaryFile(dir=full):
                    pass
                self._differ("unexpected_writable", place, "no file can be made in it", "one could")
            except OSError:
                self._result.refused.append(place)

    def _walk(self) -> list[str]:
        """Compare all but contents; returns every path that is there."""
        seen = ["/"]
        self._entry("/", os.lstat(self._root))
        waiting = ["/"]
        while waiting:
            folder = waiting.pop()
            with os.scandir(self._full(folder)) as entries:
                for entry in entries:
                    path = folder.rstrip("/") + "/" + entry.name
                    seen.append(path)
                    if path in self._declared or path in self._points:
                        continue  # what lies above is neither, since the walk came here
                    info = entry.stat(follow_symlinks=False)
                    self._entry(path, info)
                    if stat.S_ISDIR(info.st_mode):
                        waiting.append(path)
        return seen

    def _entry(self, path: str, info: os.stat_result) -> None:
        expected = self._files.get(path)
        if expected is None:
            if path != "/":
                self._differ("added", path, found=_type(info))
            return
        self._result.checked += 1
        kind, mode, uid, gid, size, holds = expected
        if _type(info) != kind:
            self._differ("type", path, kind, _type(info))
            return
        found_mode = f"{stat.S_IMODE(info.st_mode):04o}"
        if kind != "link" and found_mode != mode:
            self._differ("mode", path, mode, found_mode)
        if (info.st_uid, info.st_gid) != (uid, gid):
            self._differ("owner", path, f"{uid}:{gid}", f"{info.st_uid}:{info.st_gid}")
        if kind == "link":
            target = os.readlink(self._full(path))
            if target != holds:
                self._differ("link", path, holds, target)
        elif kind in ("char", "block"):
            device = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
            if device != holds:
                self._differ("changed", path, holds, device)
        elif kind == "file" and info.st_size != size:
            self._differ("changed", path, f"{size} bytes", f"{info.st_size} bytes")
        elif kind == "file":
            self._unread.append((path, info, holds))

    def _hash(self) -> None:
        """Each content once, however many names it has."""
        names: dict[int, list[tuple[str, str]]] = {}
        for path, info, expected in self._unread:
            names.setdefault(info.st_ino, []).append((path, expected))
        contents = list(names.values())
        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            for found in pool.map(self._altered, [contents[part::THREADS] for part in range(THREADS)]):
                self._result.differences.extend(found)

    def _altered(self, contents: list[list[tuple[str, str]]]) -> list[Difference]:
        altered = []
        for names in contents:
            found = self._sum(names[0][0])
            altered += [Difference("changed", path, expected, found) for path, expected in names if found != expected]
        return altered

    def _sum(self, path: str) -> str:
        """A file's SHA-256, or why it cannot be read."""
        digest = hashlib.sha256()
        try:
            with open(self._full(path), "rb", buffering=0) as file:
                block = file.read(BLOCK)
                while block:
                    digest.update(block)
                    block = file.read(BLOCK)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return digest.hexdigest()

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _is_declared(self, path: str) -> bool:
        return _within(path, self._declared)

    def _covered(self, path: str) -> bool:
        """Whether something else than the image is, or may be, seen at this path."""
        return self._is_declared(path) or _within(path, self._points)


def _within(path: str, places: set[str]) -> bool:
    """Whether ``path`` is one of ``places`` or lies in one."""
    while path != "/":
        if path in places:
            return True
        path = path.rpartition("/")[0] or "/"
    return False


def _type(info: os.stat_result) -> str:
    return TYPES.get(stat.S_IFMT(info.st_mode), "unknown")


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
