# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the root file system in the archive of a container image, without an engine and without unpacking it.

The archive is one that a bake wrote: it has one layer, which is not compressed.
"""

from __future__ import annotations

import bisect
import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...module_utils._manifest import EntryType, attribute_text, is_compared
from .._core.documents import mismatch, parse_json
from .._core.errors import ImageError
from .filesystem import FILE, FOLDER, LINK, Entry

_CHUNK = 1024**2
_MAX_DOCUMENT = 1024**2  # bytes of the archive's own JSON
_XATTR = "SCHILY.xattr."
_FIFO: EntryType = "fifo"
_TYPES: Mapping[bytes, EntryType] = {tarfile.DIRTYPE: FOLDER, tarfile.SYMTYPE: LINK, tarfile.FIFOTYPE: _FIFO}


class LayerFiles:
    """The files of an image's only layer, with the interface of ``FileSystem``. Raises ImageError if it cannot be read.

    Attributes:
        entries: by absolute path. Hard links have the same inode.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self.entries: dict[str, Entry] = {}
        self._places: dict[int, tuple[int, int]] = {}  # start in the archive and size, by inode
        self._attributes: dict[int, dict[str, str]] = {}
        self._starts: list[tuple[int, int, str]] = []  # of each file: start, end and path
        try:
            self._read_layer(_layer_offset(archive))
        except (tarfile.TarError, OSError, ValueError) as error:
            raise ImageError(f"the image's archive {archive} cannot be read: {error}") from error
        self._starts.sort()

    def checksums(self) -> dict[int, str]:
        """Return the hexadecimal SHA-256 of each file's content by inode."""
        sums = {}
        with self._archive.open("rb") as file:
            for inode, (start, size) in self._places.items():
                file.seek(start)
                checksum, left = hashlib.sha256(), size
                while left and (chunk := file.read(min(left, _CHUNK))):
                    checksum.update(chunk)
                    left -= len(chunk)
                sums[inode] = checksum.hexdigest()
        return sums

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents by path. Paths that are not files are skipped."""
        found = {}
        with self._archive.open("rb") as file:
            for path in paths:
                entry = self.entries.get(path)
                if entry and entry.type == FILE:
                    start, size = self._places[entry.inode]
                    file.seek(start)
                    found[path] = file.read(size)
        return found

    def attributes(self) -> dict[int, dict[str, str]]:
        """Return the extended attributes by inode and name, see ``FileSystem.attributes``."""
        return self._attributes

    def owners(self, offsets: Iterable[int]) -> dict[int, str]:
        """Return the path of the file that contains each offset (bytes in the archive). Others are skipped."""
        found = {}
        for offset in offsets:
            at = bisect.bisect_right(self._starts, (offset, 2**63, "")) - 1
            if at >= 0 and self._starts[at][0] <= offset < self._starts[at][1]:
                found[offset] = self._starts[at][2]
        return found

    def _read_layer(self, offset: int) -> None:
        entries = {"/": Entry(inode=1, type=FOLDER, mode=0o755, uid=0, gid=0, size=0)}
        with self._archive.open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as layer:
                for number, member in enumerate(layer, start=2):
                    path = f"/{member.name}"
                    entries[path] = self._linked(entries, member) or self._entry(number, path, member)
        self.entries = dict(sorted(entries.items()))

    def _linked(self, entries: Mapping[str, Entry], member: tarfile.TarInfo) -> Entry | None:
        """The entry of a hard link's file. Raises ValueError if there is none."""
        if not member.islnk():
            return None
        target = entries.get(f"/{member.linkname}")
        if target is None:
            raise ValueError(f"{member.name!r} is a link to the missing file {member.linkname!r}")
        return target

    def _entry(self, inode: int, path: str, member: tarfile.TarInfo) -> Entry:
        kind = FILE if member.isreg() else _TYPES.get(member.type, "unknown")
        attributes = {
            name: attribute_text(name, value.encode("utf-8", "surrogateescape"))
            for key, value in member.pax_headers.items()
            if key.startswith(_XATTR) and is_compared(name := key[len(_XATTR) :])
        }
        if attributes:
            self._attributes[inode] = attributes
        if kind == FILE:
            self._places[inode] = (member.offset_data, member.size)
            self._starts.append((member.offset_data, member.offset_data + member.size, path))
        target = member.linkname if kind == LINK else ""
        size = member.size if kind == FILE else len(target.encode("utf-8", "surrogateescape"))
        return Entry(
            inode=inode,
            type=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            size=size,
            target=target,
        )


def _layer_offset(archive: Path) -> int:
    """Where the content of the only layer begins. Raises ValueError."""
    places: dict[str, int] = {}
    document = b""
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            places[member.name] = member.offset_data
            if member.name == "manifest.json" and member.size <= _MAX_DOCUMENT:
                document = b"".join(_content(tar, member))
    images = parse_json(document)
    if mismatch(images, list[dict[str, Any]]) or len(images) != 1:
        raise ValueError("its manifest.json does not describe one image")
    layers = images[0].get("Layers")
    if mismatch(layers, list[str]) or len(layers) != 1 or layers[0] not in places:
        raise ValueError("it does not have one layer")
    return places[layers[0]]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(member)
    yield file.read() if file else b""
