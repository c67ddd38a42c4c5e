# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of an image as its build machine listed them, because its disk cannot be read from outside.

What the machine sent is data: it is checked, and it proves no more than that the machine wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ...module_utils._manifest import EntryType, attribute_text, is_compared, load_manifest
from .._core.errors import ImageError
from .collected import LISTING, CollectedFiles
from .filesystem import FILE, LINK, Entry

MAX_PATH = 4096  # bytes, as in the kernel
MAX_ID = 2**32
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_MODE = re.compile(r"[0-7]{4}")
_DEVICE = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_HEX = re.compile(r"([0-9a-f]{2})*")


class NoListingError(ImageError):
    """The build machine could not list its files."""


class ListedFiles:
    """The files, with the interface of ``FileTree``. Raises NoListingError, or ImageError if the list is damaged."""

    def __init__(self, collected: CollectedFiles) -> None:
        self._collected = collected
        archive = collected.read([LISTING]).get(LISTING)
        if not archive:
            raise NoListingError("the build machine could not list its files")
        try:
            found = load_manifest(archive)
            rows, attributes = dict(found["files"]), dict(found["xattrs"])
            if not rows:
                raise ValueError("it is empty")
            self.entries: dict[str, Entry] = {}
            self._sums: dict[int, str] = {}
            for inode, path in enumerate(sorted(rows), 1):
                self.entries[path] = _entry(inode, path, rows[path])
                if rows[path][0] == FILE:
                    self._sums[inode] = rows[path][5]
            self._attributes = {self.entries[path].inode: _attributes(each) for path, each in attributes.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ImageError(f"the build machine's list of its files is damaged: {error}") from None

    def checksums(self) -> dict[int, str]:
        """Return the hexadecimal SHA-256 of each file by inode."""
        return self._sums

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of those files that the machine sent."""
        return self._collected.read(paths)

    def attributes(self) -> dict[int, dict[str, str]]:
        """Return the extended attributes by inode and name."""
        return {inode: each for inode, each in self._attributes.items() if each}

    def owners(self, _offsets: Iterable[int], /) -> dict[int, str]:
        """Return nothing: the bytes of the disk are unknown."""
        return {}


def _entry(inode: int, path: str, row: Any) -> Entry:
    kind, mode, uid, gid, size, content = row
    if not path.startswith("/") or len(path) > MAX_PATH or "\0" in path:
        raise ValueError(f"{path[:80]!r} is no path")
    numbers = [
        number
        for number in (uid, gid, size)
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0
    ]
    if kind not in get_args(EntryType) or not _MODE.fullmatch(mode) or len(numbers) != 3 or max(uid, gid) >= MAX_ID:
        raise ValueError(f"the entry of {path!r} is wrong")
    if kind == FILE and not _CHECKSUM.fullmatch(content):
        raise ValueError(f"{path!r} has no checksum")
    if kind in ("char", "block") and not _DEVICE.fullmatch(content):
        raise ValueError(f"{path!r} has no device number")
    target = content if kind in (LINK, "char", "block") and isinstance(content, str) else ""
    return Entry(inode=inode, type=kind, mode=int(mode, 8), uid=uid, gid=gid, size=size, target=target[:MAX_PATH])


def _attributes(found: Mapping[str, str]) -> dict[str, str]:
    """The attributes that manifests have, as they have them."""
    if any(not _HEX.fullmatch(value) for value in found.values()):
        raise ValueError("an extended attribute is not hexadecimal")
    return {name: attribute_text(name, bytes.fromhex(value)) for name, value in found.items() if is_compared(name)}
