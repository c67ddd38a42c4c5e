# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks that come from outside: whether a file is a qcow2 disk that consists of itself alone.

The header of a qcow2 disk can name any other file of this machine as its backing file or as its data file. The guest
would then read that file, and may write to a data file. The header is read here and not by ``qemu-img info``, which
itself opens a data file that the header names.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQ")  # magic, version, offset of the backing file's name
_VERSIONS = (2, 3)
_WITH_FEATURES = 3
_FEATURES_AT, _FEATURES = 72, struct.Struct(">Q")  # incompatible features, from version 3 on
_EXTERNAL_DATA = 1 << 2


def named_file(path: Path) -> str | None:
    """Return which kind of other file the header names: ``backing file``, ``data file``, or None.

    Also returns None for a file that is not a qcow disk. Raises OSError.
    """
    header = _read_header(path)
    return _named(header) if header else None


def _read_header(path: Path) -> bytes | None:
    """The header of a qcow disk, or None for another file."""
    with path.open("rb") as file:
        header = file.read(_FEATURES_AT + _FEATURES.size)
    return header if len(header) >= _HEADER.size and header.startswith(MAGIC) else None


def _named(header: bytes) -> str | None:
    _magic, version, backing = _HEADER.unpack_from(header)
    if backing:
        return "backing file"
    if version < _WITH_FEATURES or len(header) < _FEATURES_AT + _FEATURES.size:
        return None
    return "data file" if _FEATURES.unpack_from(header, _FEATURES_AT)[0] & _EXTERNAL_DATA else None


def why_refused(path: Path) -> str | None:
    """Return why a disk from outside must not be opened, as the end of a sentence, or None if it may be.

    Raises OSError.
    """
    header = _read_header(path)
    if header is None:
        return "is not a qcow2 disk (convert a raw one: qemu-img convert -f raw -O qcow2 OLD NEW)"
    version = _HEADER.unpack_from(header)[1]
    if version not in _VERSIONS:
        return f"is a qcow disk of version {version} (allowed: qcow2, versions 2 and 3)"
    named = _named(header)
    return (
        f"names a {named}: the guest could read any file of this machine through it (allowed: a disk without one)"
        if named
        else None
    )


def qcow2_node(path: Path | str, node: str) -> dict[str, Any]:
    """Return the ``-blockdev`` of a qcow2 disk that is opened read-only and without a backing file."""
    return {
        "driver": "qcow2",
        "node-name": node,
        "read-only": True,
        "backing": None,
        "file": {"driver": "file", "filename": str(path)},
    }
