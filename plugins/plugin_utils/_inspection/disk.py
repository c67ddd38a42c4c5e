# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk of an image: its raw bytes, its partitions, and the one with the root file system."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .._core.errors import ImageError
from .._core.qcow2 import why_refused
from .tools import program, run

_PREFIX = "inspect-"  # of temporary folders, so that the next run finds what a killed run left behind
_CHUNK = 1024 * 1024
_SUPERBLOCK, _MAGIC_AT, _MAGIC = 1024, 56, b"\x53\xef"  # of ext2, ext3 and ext4


class NoFileSystemError(ImageError):
    """The disk has no file system that can be inspected."""


@dataclass(frozen=True)
class Partition:
    """One partition. ``number`` starts at 1, as in the guest's kernel; ``start`` and ``size`` are bytes."""

    number: int
    start: int
    size: int


@dataclass(frozen=True)
class Disk:
    """A raw disk. ``root`` is the largest partition with an ext2, ext3 or ext4 file system."""

    raw: Path
    partitions: tuple[Partition, ...]
    root: Partition

    def checksums(self) -> dict[str, str]:
        """Return the hexadecimal SHA-256 of each partition other than root, by its number.

        The key ``0`` is for everything before the first partition: the boot record, and often a boot loader.
        """
        first = min(partition.start for partition in self.partitions)
        others = [partition for partition in self.partitions if partition != self.root]
        return {str(part.number): _checksum(self.raw, part) for part in (Partition(0, 0, first), *others)}


@contextmanager
def raw_disk(qcow2: Path, workdir: Path) -> Iterator[Path]:
    """Convert the image to a sparse raw file below ``workdir``, and remove it at the end.

    Raises ImageError, also for an image that is not a qcow2 disk or that names another file.

    Also removes what a killed run left behind. The caller holds the bake's lock, so no other run uses ``workdir``.
    """
    for leftover in workdir.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=workdir) as folder:
        raw = Path(folder) / "disk.raw"
        if refused := why_refused(qcow2):
            raise ImageError(f"the image's disk {qcow2} {refused}")
        run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", "--", str(qcow2), str(raw)])
        yield raw


def open_disk(raw: Path) -> Disk:
    """Read the partition table (MBR or GPT).

    Raises NoFileSystemError without a table or a supported file system, ImageError if a program fails otherwise.
    """
    program("sfdisk")  # that it is missing says nothing about the disk
    try:
        described = run("sfdisk", ["--json", "--", str(raw)])
    except ImageError as error:
        raise NoFileSystemError(error.message) from error
    try:
        table = json.loads(described)["partitiontable"]
        sector = int(table.get("sectorsize", 512))
        found = [
            (str(part["node"]), int(part["start"]) * sector, int(part["size"]) * sector)
            for part in table.get("partitions", [])
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"unexpected output of sfdisk for the image's partitions: {error!r}") from None
    partitions = tuple(
        Partition(int(node.removeprefix(str(raw)).lstrip("p")), start, size) for node, start, size in found
    )
    with raw.open("rb") as file:
        roots = []
        for part in partitions:
            file.seek(part.start + _SUPERBLOCK + _MAGIC_AT)
            if file.read(2) == _MAGIC:
                roots.append(part)
    if not roots:
        raise NoFileSystemError(
            f"none of the image's {len(partitions)} partitions has a file system that can be inspected"
            " (supported: ext2, ext3, ext4)"
        )
    return Disk(raw, partitions, max(roots, key=lambda part: part.size))


def _checksum(raw: Path, part: Partition) -> str:
    checksum, remaining = hashlib.sha256(), part.size
    with raw.open("rb") as file:
        file.seek(part.start)
        while remaining and (chunk := file.read(min(remaining, _CHUNK))):
            checksum.update(chunk)
            remaining -= len(chunk)
    return checksum.hexdigest()
