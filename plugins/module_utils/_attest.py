# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares a running host with the manifest of its image and returns the differences.

The comparison reads the complete root file system: each entry's type, mode, owner and extended attributes, each file's
content and each link's target. Declared mounts are not read. Any other mount is a difference. So is what a process
sees or executes instead of the image, and configuration in /run that overrides the image's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ._manifest import SCHEMA, attribute_text, entry_type, is_compared
from ._mounts import Mount, read_mounts
from ._overrides import find_overrides
from ._process_views import Image, compare_processes

# fmt: off
DifferenceKind = Literal[
    "changed", "missing", "added", "mode", "owner", "type", "link", "covering", "unexpected_writable",
    "xattr", "process_mount", "program", "override", "mount_options", "image", "capabilities", "confinement",
]
# fmt: on
Subject = Literal["xattrs", "process", "override"]
THREADS = 2  # hashing releases Python's lock; more threads would take processors from the host's service
BLOCK = 1024 * 1024
# Devices, kernel interfaces and the files of one boot.
SYSTEM = ("/dev", "/proc", "/run", "/sys")
PROBED = ("/", "/etc", "/usr")
LABEL = "security.selinux"


@dataclass(frozen=True)
class Difference:
    """One difference between the host and its image. ``expected`` and ``found`` are text, '' if they do not apply."""

    kind: DifferenceKind
    path: str
    expected: str = ""
    found: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return plain data for a result. Bytes that are not UTF-8 are escaped."""
        return {key: _printable(value) for key, value in asdict(self).items() if value}


@dataclass(frozen=True)
class NotCompared:
    """Something that the comparison could not compare with the image."""

    subject: Subject
    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """Return plain data for a result. Bytes that are not UTF-8 are escaped."""
        return {key: _printable(value) for key, value in asdict(self).items()}


@dataclass
class Comparison:
    """The result of a comparison.

    Attributes:
        checked: the number of compared entries.
        refused: folders where an attempt to write failed, as it should.
        not_compared: what is out of reach. It does not count as a difference.
    """

    differences: list[Difference] = field(default_factory=list)
    checked: int = 0
    refused: list[str] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)


def compare(
    manifest: dict[str, Any], root: str = "/", mountinfo: str = "/proc/self/mountinfo", proc: str | None = None
) -> Comparison:
    """Compare the file system at ``root``, and the mounts on it, with a manifest.

    Args:
        manifest: ``{"schema": 1, "files": {path: [type, mode in octal, uid, gid, size, sha256 | target | device]},
            "covers": [path], "data": [path], "writable": [path], "xattrs": {path: {name: value}},
            "options": {path: [option]}, ...}``; paths are absolute, relative to ``root``. Images that were baked by
            0.2.0 have no "xattrs" and no "options".
        proc: folder with the host's processes. The default is ``/proc`` if ``root`` is ``/``, else processes are not
            compared.

    Raises ValueError for another schema or shape, OSError if ``root`` cannot be read.
    """
    require_schema(manifest)
    if proc is None and root == "/":
        proc = "/proc"
    return HostComparison(manifest, root, read_mounts(root, mountinfo), proc).run()


def require_schema(manifest: Any) -> None:
    """Raise ValueError for a manifest of another schema or shape."""
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or not isinstance(manifest.get("files"), dict)
    ):
        raise ValueError(f"expected a manifest with schema {SCHEMA}")


class HostComparison:
    """One comparison.

    Args:
        manifest: see ``compare``.
        mounts: at and below ``root``.
        proc: folder with the host's processes; None if they are not compared.
    """

    def __init__(self, manifest: dict[str, Any], root: str, mounts: list[Mount], proc: str | None) -> None:
        self._files = manifest["files"]
        self._xattrs: dict[str, dict[str, str]] | None = manifest.get("xattrs")
        self._root = root
        self._proc = proc
        self._options: dict[str, list[str]] = manifest.get("options") or {}
        self._own = {path for key in ("data", "writable") for path in manifest.get(key) or []}
        self._inodes: set[int] = set()  # of the files that are compared
        self._declared = {*SYSTEM, *(manifest.get("covers") or []), *self._own}
        self._mounts = mounts
        self._mount_points = {mount.point for mount in mounts} - {"/"}
        self._result = Comparison()
        self._to_hash: list[tuple[str, os.stat_result, str]] = []  # files whose content may differ, with its checksum

    def run(self) -> Comparison:
        self._check_mounts()
        self._probe_writes()
        paths = set(self._walk())
        for path in self._files:
            if path not in paths and not self._is_covered(path):
                self._add("missing", path)
        self._compare_contents()
        self._find_overrides()
        if self._proc is not None:
            self._compare_processes(self._proc)
        if self._xattrs is None:
            unknown = "extended attributes and mount options"
            self._skip("xattrs", "/", f"the image was baked by an earlier version, which did not record {unknown}")
        self._result.differences.sort(key=lambda difference: (difference.path, difference.kind))
        return self._result

    def _add(self, kind: DifferenceKind, path: str, expected: str = "", found: str = "") -> None:
        self._result.differences.append(Difference(kind, path, expected, found))

    def _skip(self, subject: Subject, path: str, reason: str) -> None:
        self._result.not_compared.append(NotCompared(subject, path, reason))

    def _find_overrides(self) -> None:
        found, unchecked = find_overrides(self._files, self._root)
        for path, what in found:
            self._add("override", path, found=what)
        for path, what in unchecked:
            self._skip("override", path, what)

    def _compare_processes(self, proc: str) -> None:
        image = Image(
            device=os.stat(self._root).st_dev,
            inodes=self._inodes,
            is_declared=self._is_declared,
            is_own=lambda path: _within(path, self._own),
            mounts=self._mounts,
        )
        views = compare_processes(image, proc, self._root)
        for path, what in views.mounts:
            self._add("process_mount", path, found=what)
        for path, what in views.programs:
            self._add("program", path, found=what)
        for path, what in views.unchecked:
            self._skip("process", path, what)

    def _check_mounts(self) -> None:
        if not os.statvfs(self._root).f_flag & os.ST_RDONLY:
            self._add("unexpected_writable", "/", "ro", "rw")
        roots = [mount for mount in self._mounts if mount.point == "/"]
        if len(roots) > 1 or any(mount.type == "overlay" for mount in roots):
            self._add("covering", "/", found=", ".join(mount.type for mount in roots))
        for mount in self._mounts:
            expected = self._options.get(mount.point, [])
            if not mount.options.issuperset(expected):
                found = [option for option in expected if option in mount.options]
                self._add("mount_options", mount.point, ",".join(expected), ",".join(found) or "none of them")
            if mount.point == "/" or self._is_declared(mount.point):
                continue
            self._add("covering", mount.point, found=f"{mount.type} of {mount.source}")
            if mount.writable and not mount.of_kernel:
                self._add("unexpected_writable", mount.point, "ro", "rw")

    def _probe_writes(self) -> None:
        """Try to create a file in a few folders, because the flags of a mount do not prove that it is read-only."""
        for folder in PROBED:
            full = self._full_path(folder)
            if self._is_covered(folder) or not os.path.isdir(full):
                continue
            try:
                with tempfile.TemporaryFile(dir=full):
                    pass
                self._add("unexpected_writable", folder, "read-only", "a file was created")
            except OSError:
                self._result.refused.append(folder)

    def _walk(self) -> list[str]:
        """Compare everything but contents, and return every path of the host."""
        paths = ["/"]
        self._compare_entry("/", os.lstat(self._root))
        folders = ["/"]
        while folders:
            folder = folders.pop()
            with os.scandir(self._full_path(folder)) as entries:
                for entry in entries:
                    path = folder.rstrip("/") + "/" + entry.name
                    paths.append(path)
                    if path in self._declared or path in self._mount_points:
                        continue
                    info = entry.stat(follow_symlinks=False)
                    self._compare_entry(path, info)
                    if stat.S_ISDIR(info.st_mode):
                        folders.append(path)
        return paths

    def _compare_entry(self, path: str, info: os.stat_result) -> None:
        expected = self._files.get(path)
        if expected is None:
            if path != "/":
                self._add("added", path, found=entry_type(info.st_mode))
            return
        self._result.checked += 1
        kind, mode, uid, gid, size, content = expected
        if entry_type(info.st_mode) != kind:
            self._add("type", path, kind, entry_type(info.st_mode))
            return
        found_mode = f"{stat.S_IMODE(info.st_mode):04o}"
        if kind != "link" and found_mode != mode:
            self._add("mode", path, mode, found_mode)
        if (info.st_uid, info.st_gid) != (uid, gid):
            self._add("owner", path, f"{uid}:{gid}", f"{info.st_uid}:{info.st_gid}")
        if self._xattrs is not None:
            self._compare_attributes(path, self._xattrs.get(path, {}))
        if kind == "file":
            self._inodes.add(info.st_ino)
        if kind == "link":
            target = os.readlink(self._full_path(path))
            if target != content:
                self._add("link", path, content, target)
        elif kind in ("char", "block"):
            device = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
            if device != content:
                self._add("changed", path, content, device)
        elif kind == "file" and info.st_size != size:
            self._add("changed", path, f"{size} bytes", f"{info.st_size} bytes")
        elif kind == "file":
            self._to_hash.append((path, info, content))

    def _compare_attributes(self, path: str, expected: dict[str, str]) -> None:
        full = self._full_path(path)
        try:
            names = [name for name in os.listxattr(full, follow_symlinks=False) if is_compared(name)]
            found = {name: attribute_text(name, os.getxattr(full, name, follow_symlinks=False)) for name in names}
        except OSError as error:
            found = {}
            if error.errno != errno.ENOTSUP:
                self._skip("xattrs", path, f"cannot be read: {error.strerror}")
                return
        if found == expected:
            return
        for name in sorted({*expected, *found}):
            if name == LABEL and name not in expected:
                continue  # the kernel returns a label for files that have none
            if expected.get(name) != found.get(name):
                self._add("xattr", path, *(f"{name}={each.get(name, 'none')}" for each in (expected, found)))

    def _compare_contents(self) -> None:
        """Hash each inode once, even if it has several names."""
        names: dict[int, list[tuple[str, str]]] = {}
        for path, info, expected in self._to_hash:
            names.setdefault(info.st_ino, []).append((path, expected))
        contents = list(names.values())
        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            for found in pool.map(self._changed, [contents[part::THREADS] for part in range(THREADS)]):
                self._result.differences.extend(found)

    def _changed(self, contents: list[list[tuple[str, str]]]) -> list[Difference]:
        changed = []
        for names in contents:
            found = self._checksum(names[0][0])
            changed += [Difference("changed", path, expected, found) for path, expected in names if found != expected]
        return changed

    def _checksum(self, path: str) -> str:
        """The hexadecimal SHA-256 of a file, or the reason why it cannot be read."""
        digest = hashlib.sha256()
        try:
            with open(self._full_path(path), "rb", buffering=0) as file:
                block = file.read(BLOCK)
                while block:
                    digest.update(block)
                    block = file.read(BLOCK)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return digest.hexdigest()

    def _full_path(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _is_declared(self, path: str) -> bool:
        return _within(path, self._declared)

    def _is_covered(self, path: str) -> bool:
        """Whether a mount covers, or may cover, the image at this path."""
        return self._is_declared(path) or _within(path, self._mount_points)


def result_of(comparison: Comparison, limit: int, seconds: float) -> dict[str, Any]:
    """Return the result of a task.

    Args:
        limit: the maximum number of differences, and of entries that were not compared.
        seconds: the duration.
    """
    count, limit = len(comparison.differences), max(0, limit)
    return {
        "changed": False,
        "attested": count == 0,
        "differences": [each.as_dict() for each in comparison.differences[:limit]],
        "count": count,
        "checked": comparison.checked,
        "not_compared": [each.as_dict() for each in comparison.not_compared[:limit]],
        "refused": comparison.refused,
        "seconds": round(seconds, 2),
    }


def drift_message(result: dict[str, Any], host: str = "this host") -> str:
    """Return the message of a task that fails because of differences."""
    first = (result["differences"] or [{"path": "/", "kind": "not shown"}])[0]
    return f"{host} differs from its image in {result['count']} places, first {first['path']} ({first['kind']})"


def _within(path: str, folders: set[str]) -> bool:
    """Whether ``path`` is one of ``folders`` or inside one."""
    while path != "/":
        if path in folders:
            return True
        path = path.rpartition("/")[0] or "/"
    return False


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
