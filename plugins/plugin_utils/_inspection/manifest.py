# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest: every file of an image, as it was baked. It is kept in the store, and hosts are compared with it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core.errors import ImageError
from .._core.files import write_atomically
from .disk import Disk
from .filesystem import FILE, FileSystem

SCHEMA = 1
FACTS = "/usr/lib/immutable/seal.json"  # written by the seal; see module_utils/_seal.py
Row = tuple[str, str, int, int, int, str]


@dataclass(frozen=True)
class Manifest:
    """``files`` by absolute path: type (``file``, ``dir``, ``link``, ``char``, ``block``, ``fifo``, ``socket``), mode (octal text such as
    ``0644``), uid, gid, size in bytes (0 for what is neither file nor link), and what it holds: a file's SHA-256 in hexadecimal, a
    link's target, a device's ``<major>:<minor>``, else nothing. Names that are not UTF-8 hold Python's surrogate escapes."""

    digest: str  # the image's
    files: Mapping[str, Row]
    boot: Mapping[str, str]  # see Disk.checksums
    covers: tuple[str, ...] = ()  # places where something is mounted over the image on a running host
    data: tuple[str, ...] = ()  # mount points of data volumes
    writable: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "covers": list(self.covers),
            "data": list(self.data),
            "writable": list(self.writable),
            "boot": dict(self.boot),
            "files": {path: list(row) for path, row in sorted(self.files.items())},
        }

    def to_gzip(self) -> bytes:
        """For the store. The same manifest gives the same bytes."""
        return gzip.compress(
            json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")).encode("ascii"), compresslevel=6, mtime=0
        )

    @classmethod
    def from_gzip(cls, data: bytes) -> Manifest:
        """Raises ImageError for bytes that are no manifest."""
        try:
            found = json.loads(gzip.decompress(data))
            if found["schema"] != SCHEMA:
                raise ImageError(
                    f"the manifest has schema {found['schema']}, this version reads schema {SCHEMA}: bake the image again"
                )
            return cls(
                digest=found["digest"],
                files={path: _row(row) for path, row in found["files"].items()},
                boot=found["boot"],
                covers=tuple(found["covers"]),
                data=tuple(found["data"]),
                writable=tuple(found["writable"]),
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(f"the manifest is damaged ({error}): bake the image again") from None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Raises OSError."""
    write_atomically(path, manifest.to_gzip())


def read_manifest(path: Path) -> Manifest:
    """Raises ImageError where it is missing, cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"the manifest {path} cannot be read: {error.strerror}") from None
    return Manifest.from_gzip(data)


def make_manifest(disk: Disk, files: FileSystem, digest: str, facts: Mapping[str, Any]) -> Manifest:
    """Read every file once; ``facts`` as from ``seal_facts``. Raises ImageError."""
    sums = files.checksums()
    rows: dict[str, Row] = {}
    for path, entry in files.entries.items():
        holds = sums[entry.inode] if entry.type == FILE else entry.target
        rows[path] = (entry.type, f"{entry.mode:04o}", entry.uid, entry.gid, entry.size, holds)
    places = {key: tuple(str(path) for path in facts.get(key, ())) for key in ("covers", "data", "writable")}
    return Manifest(digest, rows, disk.checksums(), **places)


def seal_facts(files: FileSystem) -> dict[str, Any]:
    """What the seal declared in the image; nothing where there is none. Raises ImageError where it cannot be read."""
    try:
        found = json.loads(files.read([FACTS]).get(FACTS, b"{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ImageError(f"{FACTS} in the image cannot be read: bake the image again")
    return found


def _row(row: list[Any]) -> Row:
    kind, mode, uid, gid, size, holds = row
    return (str(kind), str(mode), int(uid), int(gid), int(size), str(holds))
