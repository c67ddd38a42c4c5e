# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Searches the complete raw disk of an image, including free blocks, for secrets in their usual encodings."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...module_utils._secret_forms import secret_forms

MIN_LENGTH = 6  # bytes; shorter needles are in every image by chance
_MAX_HITS = 10  # of one needle


@dataclass(frozen=True)
class Hit:
    """One place where a needle was found.

    Attributes:
        needle: index in the needles.
        offset: bytes from the start of the disk.
    """

    needle: int
    offset: int


def search_raw(raw: Path, needles: Sequence[bytes]) -> list[Hit]:
    """Return where the ``needles`` are, at most ten hits each, in the order of the needles.

    Skips holes of a sparse file.

    Misses a needle that is split across two blocks that are not adjacent. Maps the file instead of reading it into
    memory.
    """
    longest = max(map(len, needles), default=0)
    hits: list[Hit] = []
    with raw.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size or not longest:
            return []
        parts = list(_data_ranges(file.fileno(), size))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as disk:
            for index, needle in enumerate(needles):
                found = _offsets(
                    disk, needle, [(max(0, start - longest), min(size, end + longest)) for start, end in parts]
                )
                hits += [Hit(index, offset) for offset in sorted(found)]
    return hits


def needle_forms(secrets: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the forms of each secret to search for, with its name.

    They are the secret, its longest line, and its usual encodings. Leaves out secrets and forms that are shorter than
    MIN_LENGTH.
    """
    found = []
    for name, value in secrets.items():
        secret = value.strip()
        if len(secret) >= MIN_LENGTH:
            # One line is enough to find a text, and each needle costs a pass over the disk.
            longest_line = max(secret.splitlines(), key=len).strip()
            forms = {secret, longest_line, *_shortest_forms(secret)}
            found += [(name, form) for form in sorted(forms) if len(form) >= MIN_LENGTH]
    return found


def _shortest_forms(secret: bytes) -> set[bytes]:
    """The encodings of a secret, without those that contain another one and so would find nothing more."""
    forms = {form for form in secret_forms(secret) if len(form) >= MIN_LENGTH}
    return {form for form in forms if not any(other != form and other in form for other in forms)}


def _data_ranges(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that are not holes."""
    start = 0
    while start < size:
        try:
            start = os.lseek(handle, start, os.SEEK_DATA)
        except OSError:  # the rest is a hole
            return
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end
        start = end


def _offsets(disk: mmap.mmap, needle: bytes, parts: Sequence[tuple[int, int]]) -> set[int]:
    found: set[int] = set()
    for start, end in parts:
        at = _find(disk, needle, start, end)
        while at >= 0:
            found.add(at)
            if len(found) == _MAX_HITS:
                return found
            at = _find(disk, needle, at + 1, end)
    return found


def _find(disk: mmap.mmap, needle: bytes, start: int, end: int) -> int:
    """Like ``disk.find``, which before Python 3.11.5 reads one byte after ``end`` and may crash at the file's end."""
    at = disk.find(needle, start, min(end, len(disk) - 1))
    last = len(disk) - len(needle)
    if at < 0 and start <= last and end == len(disk) and disk[last:] == needle:
        return last
    return at
