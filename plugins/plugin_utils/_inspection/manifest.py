# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest lists every file of an image. It is in the store, and hosts are compared with it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils._manifest import SCHEMA, load_manifest
from ...module_utils._mounts import unescaped
from ...module_utils._seal import FACTS_PATH
from .._core.documents import parse_json
from .._core.errors import ImageError
from .filesystem import FILE, FileTree

_PATHS = ("covers", "data", "writable")
_FSTAB = "/etc/fstab"
_RESTRICTIONS = ("nodev", "noexec", "nosuid")
Row = tuple[str, str, int, int, int, str]


@dataclass(frozen=True)
class Manifest:
    """The manifest of one image.

    Attributes:
        digest: the image's, ``sha256:<hex>``.
        files: by absolute path: type (see ``EntryType``), mode (octal text such as ``0644``), uid, gid, size in bytes
            (0 unless it is a file or link), and the content: a file's hexadecimal SHA-256, a link's target, a device's
            ``<major>:<minor>``, else ''. Bytes of a name that are not UTF-8 are Python's surrogate escapes.
        boot: see ``Disk.checksums``.
        covers: paths that are covered by a mount on a running host.
        data: mount points of data volumes.
        writable: paths that the definition declares writable.
        xattrs: the extended attributes of the paths that have any, by name (see ``attribute_text``). None in the
            manifest of an image that was baked by 0.2.0, which did not record them.
        options: the mount options that each covered path and data volume must have, such as "nosuid". None in the
            manifest of an image that was baked by 0.2.0.
    """

    digest: str
    files: Mapping[str, Row]
    boot: Mapping[str, str]
    covers: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    xattrs: Mapping[str, Mapping[str, str]] | None = None
    options: Mapping[str, tuple[str, ...]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data (JSON types)."""
        attributes = {} if self.xattrs is None else {"xattrs": {path: dict(each) for path, each in self.xattrs.items()}}
        options = {} if self.options is None else {"options": {path: list(each) for path, each in self.options.items()}}
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "covers": list(self.covers),
            "data": list(self.data),
            "writable": list(self.writable),
            "boot": dict(self.boot),
            "files": {path: list(row) for path, row in sorted(self.files.items())},
            **attributes,
            **options,
        }

    def to_gzip(self) -> bytes:
        """Return the compressed JSON. The same manifest gives the same bytes."""
        return gzip.compress(
            json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")).encode("ascii"), compresslevel=6, mtime=0
        )

    @classmethod
    def from_gzip(cls, data: bytes) -> Manifest:
        """Parse the result of ``to_gzip``. Raises ImageError for anything else."""
        try:
            found = load_manifest(data)
            if found["schema"] != SCHEMA:
                raise ImageError(
                    f"the manifest has schema {found['schema']}, but this version reads schema {SCHEMA}:"
                    " bake the image again"
                )
            return cls(
                digest=found["digest"],
                files={path: _row(row) for path, row in found["files"].items()},
                boot=found["boot"],
                covers=tuple(found["covers"]),
                data=tuple(found["data"]),
                writable=tuple(found["writable"]),
                xattrs=_attributes(found["xattrs"]) if "xattrs" in found else None,
                options=_options(found["options"]) if "options" in found else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(f"the manifest is damaged ({error}): bake the image again") from None


def make_manifest(files: FileTree, digest: str, facts: Mapping[str, Any], boot: Mapping[str, str]) -> Manifest:
    """Return the manifest of the file system. Reads each file once. Raises ImageError.

    Args:
        facts: see ``seal_facts``.
        boot: see ``Disk.checksums``; {} for an image without a disk.
    """
    sums = files.checksums()
    rows: dict[str, Row] = {}
    for path, entry in files.entries.items():
        content = sums[entry.inode] if entry.type == FILE else entry.target
        rows[path] = (entry.type, f"{entry.mode:04o}", entry.uid, entry.gid, entry.size, content)
    paths = {key: tuple(str(path) for path in facts.get(key, ())) for key in _PATHS}
    by_inode = files.attributes()
    attributes = {path: by_inode[entry.inode] for path, entry in files.entries.items() if entry.inode in by_inode}
    options = _restricted(files, {*paths["covers"], *paths["data"]})
    return Manifest(digest, rows, boot, xattrs=attributes, options=options, **paths)


def seal_facts(files: FileTree) -> dict[str, Any]:
    """Return what the seal wrote about the image, or {} if the image has no seal.

    Raises ImageError if it cannot be parsed.
    """
    try:
        found = parse_json(files.read([FACTS_PATH]).get(FACTS_PATH, b"{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(key, []), list) for key in _PATHS):
        raise ImageError(f"cannot parse {FACTS_PATH} of the image: bake the image again")
    return found


def _restricted(files: FileTree, mounts: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return what each of the mounts must not allow, as the image's own fstab says."""
    found = {}
    for line in files.read([_FSTAB]).get(_FSTAB, b"").decode(errors="surrogateescape").splitlines():
        fields = line.split()
        if len(fields) > 3 and (point := unescaped(fields[1])) in mounts:
            found[point] = tuple(option for option in _RESTRICTIONS if option in fields[3].split(","))
    return found


def _row(row: list[Any]) -> Row:
    kind, mode, uid, gid, size, content = row
    return (str(kind), str(mode), int(uid), int(gid), int(size), str(content))


def _attributes(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {path: {str(name): str(value) for name, value in each.items()} for path, each in found.items()}


def _options(found: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {path: tuple(str(option) for option in each) for path, each in found.items()}
