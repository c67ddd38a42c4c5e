# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the installed packages from the database of RPM, as Amazon Linux 2023, Fedora and RHEL 9 have it.

Sources: https://rpm-software-management.github.io/rpm/manual/format_header.html (headers), and lib/backend/sqlite.c of
RPM (the table ``Packages``). A database comes from an image, so it is data: sizes, steps and rows have bounds.
"""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._core.errors import ImageError

DATABASES = ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite")
LOG = "-wal"  # suffix of the log with what is not in the database itself yet
MAX_DATABASE = 1 << 30  # bytes
MAX_HEADER = 64 << 20  # bytes of one package; its list of files is in there
MAX_PACKAGES = 100_000
MAX_STEPS = 2_000  # of a query, in units of _STEPS instructions
_STEPS = 100_000
_ENTRY = struct.Struct(">IIII")  # tag, type, offset, count
_PREFIX = struct.Struct(">II")  # number of entries, bytes of data
# Tags, see https://rpm-software-management.github.io/rpm/manual/tags.html
NAME, VERSION, RELEASE, EPOCH, VENDOR, LICENSE, ARCH, SOURCE = 1000, 1001, 1002, 1003, 1011, 1014, 1022, 1044
_INT32, _TEXTS = 4, (6, 9)  # a text, and a text with translations, of which the first is taken
_KEY = "gpg-pubkey"  # the name of imported keys, which are no packages
MAX_TEXT = 4096  # bytes


@dataclass(frozen=True)
class RpmPackage:
    """An installed package. ``source`` is the name of the source package's file."""

    name: str
    version: str
    release: str
    epoch: int = 0
    arch: str = ""
    vendor: str = ""
    license: str = ""
    source: str = ""


def read_packages(database: bytes, log: bytes = b"") -> list[RpmPackage]:
    """Return the packages in a database, by name.

    Args:
        log: its write-ahead log.

    Raises ImageError if it cannot be read.
    """
    if len(database) + len(log) > MAX_DATABASE:
        raise ImageError(f"the RPM database of the image has more than {MAX_DATABASE} bytes")
    with tempfile.TemporaryDirectory(prefix="rpmdb-") as folder:
        path = Path(folder, "rpmdb.sqlite")
        path.write_bytes(database)
        if log:
            path.with_name(path.name + LOG).write_bytes(log)
        try:
            packages = [package_of(header) for header in _headers(path)]
        except (sqlite3.Error, struct.error, ValueError, KeyError) as error:
            raise ImageError(f"cannot read the RPM database of the image: {error or type(error).__name__}") from error
    return sorted(
        (package for package in packages if package.name != _KEY), key=lambda each: (each.name, each.version, each.arch)
    )


def _headers(path: Path) -> Iterator[bytes]:
    steps = 0

    def bounded() -> int:
        nonlocal steps
        steps += 1
        return steps > MAX_STEPS

    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.set_progress_handler(bounded, _STEPS)
        rows = connection.execute("SELECT CAST(blob AS BLOB) FROM Packages WHERE length(blob) <= ?", (MAX_HEADER,))
        for number, (header,) in enumerate(rows):
            if number >= MAX_PACKAGES:
                raise ValueError(f"it has more than {MAX_PACKAGES} packages")
            yield header
    finally:
        connection.close()


def package_of(header: bytes) -> RpmPackage:
    """Read the header of a package. Raises KeyError, ValueError or struct.error for anything else."""
    count, size = _PREFIX.unpack_from(header)
    start = _PREFIX.size + count * _ENTRY.size
    if start + size > len(header):
        raise ValueError("a header ends early")
    data = header[start : start + size]
    index: dict[int, tuple[int, int]] = {}
    for at in range(_PREFIX.size, start, _ENTRY.size):
        tag, kind, offset, _count = _ENTRY.unpack_from(header, at)
        index.setdefault(tag, (kind, offset))
    return RpmPackage(
        name=_text(data, index, NAME),
        version=_text(data, index, VERSION),
        release=_text(data, index, RELEASE),
        epoch=_number(data, index, EPOCH),
        arch=_text(data, index, ARCH, ""),
        vendor=_text(data, index, VENDOR, ""),
        license=_text(data, index, LICENSE, ""),
        source=_text(data, index, SOURCE, ""),
    )


def _text(data: bytes, index: Mapping[int, tuple[int, int]], tag: int, default: str | None = None) -> str:
    if tag not in index and default is not None:
        return default
    kind, offset = index[tag]
    end = data.find(b"\0", offset, offset + MAX_TEXT)
    if kind not in _TEXTS or end < 0:
        raise ValueError(f"the tag {tag} of a header is no text")
    return data[offset:end].decode("utf-8", "replace")


def _number(data: bytes, index: Mapping[int, tuple[int, int]], tag: int) -> int:
    if tag not in index:
        return 0
    kind, offset = index[tag]
    if kind != _INT32:
        raise ValueError(f"the tag {tag} of a header is no number")
    return int.from_bytes(struct.unpack_from("4s", data, offset)[0], "big")
