# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Searches the complete raw disk of an image, including free blocks, for secrets in their usual encodings."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
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
    with raw.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size or not longest:
            return []
        parts = list(_data_ranges(file.fileno(), size))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as disk:
            search = _Search(disk, needles)
            for start, end in parts:
                search.run(max(0, start - longest), min(size, end + longest))
    return [Hit(index, offset) for index, found in enumerate(search.found) for offset in sorted(found)]


class _Search:
    """Searches for all needles at once, because a pass over a disk takes seconds."""

    def __init__(self, disk: mmap.mmap, needles: Sequence[bytes]) -> None:
        self._disk = disk
        self._wanted = {index: needle for index, needle in enumerate(needles) if needle}
        self._pattern = _pattern_of(self._wanted.values())
        self.found: list[set[int]] = [set() for _needle in needles]  # offsets by needle

    def run(self, start: int, end: int) -> None:
        """Search one range."""
        while self._pattern and (hit := self._pattern.search(self._disk, start, end)):
            self._note(hit.start())
            start = hit.start() + 1

    def _note(self, offset: int) -> None:
        wanted = dict(self._wanted)
        for index, needle in wanted.items():
            if self._disk[offset : offset + len(needle)] == needle:
                self.found[index].add(offset)
                if len(self.found[index]) == _MAX_HITS:
                    del self._wanted[index]
        if len(self._wanted) < len(wanted):
            self._pattern = _pattern_of(self._wanted.values())


def _pattern_of(needles: Iterable[bytes]) -> re.Pattern[bytes] | None:
    distinct = sorted(set(needles))
    return re.compile(_alternatives(distinct)) if distinct else None


def _alternatives(needles: Sequence[bytes]) -> bytes:
    """An expression for sorted, distinct needles. Those with the same first byte are one branch, which is fast."""
    branches = []
    for first, group in groupby(needles, key=lambda needle: needle[:1]):
        rest = b"|".join(re.escape(needle[1:]) for needle in group)
        branches.append(re.escape(first) + b"(?:" + rest + b")")
    return b"|".join(branches)


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
