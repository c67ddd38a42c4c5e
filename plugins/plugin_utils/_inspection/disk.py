# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk of an image: its raw bytes, its partitions, and which of them holds the system."""

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
from .tools import run

_FOLDER = "inspect-"  # prefix of the folders made here, so that what a killed run left is known
_CHUNK = 1024 * 1024
_SUPERBLOCK, _MAGIC_AT, _MAGIC = 1024, 56, b"\x53\xef"  # of ext2, ext3 and ext4


@dataclass(frozen=True)
class Partition:
    number: int  # from 1, as the guest's kernel counts
    start: int  # bytes
    size: int  # bytes


@dataclass(frozen=True)
class Disk:
    """A raw disk. ``root`` is the largest partition with an ext2, ext3 or ext4 file system."""

    raw: Path
    partitions: tuple[Partition, ...]
    root: Partition

    def checksums(self) -> dict[str, str]:
        """SHA-256 (hexadecimal) of all that is not the root file system: each other partition by its number, and
        as ``0`` what comes before the first (the boot record, and often a boot loader)."""
        first = min(partition.start for partition in self.partitions)
        others = [partition for partition in self.partitions if partition != self.root]
        return {str(part.number): _checksum(self.raw, part) for part in (Partition(0, 0, first), *others)}


@contextmanager
def raw_disk(qcow2: Path, workdir: Path) -> Iterator[Path]:
    """The image as a sparse raw file below ``workdir``, removed afterwards; so is what a run that was killed left there.

    ``workdir`` belongs to one run at a time: the caller holds the bake's lock. Raises ImageError.
    """
    for left in workdir.glob(f"{_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_FOLDER, dir=workdir) as folder:
        raw = Path(folder) / "disk.raw"
        run("qemu-img", ["convert", "-O", "raw", "--", str(qcow2), str(raw)])
        yield raw


def open_disk(raw: Path) -> Disk:
    """Read the partition table (MBR or GPT). Raises ImageError where there is none or no file system that can be read."""
    try:
        table = json.loads(run("sfdisk", ["--json", "--", str(raw)]))["partitiontable"]
        sector = int(table.get("sectorsize", 512))
        found = [
            (str(part["node"]), int(part["start"]) * sector, int(part["size"]) * sector)
            for part in table.get("partitions", [])
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(
            f"sfdisk described the image's partitions in a way that is not understood: {error!r}"
        ) from None
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
        raise ImageError(
            f"none of the image's {len(partitions)} partitions has an ext4 file system (ext2 and ext3 do as well); others cannot be inspected"
        )
    return Disk(raw, partitions, max(roots, key=lambda part: part.size))


def _checksum(raw: Path, part: Partition) -> str:
    checksum, left = hashlib.sha256(), part.size
    with raw.open("rb") as file:
        file.seek(part.start)
        while left and (chunk := file.read(min(left, _CHUNK))):
            checksum.update(chunk)
            left -= len(chunk)
    return checksum.hexdigest()
