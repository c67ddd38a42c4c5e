# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bytes that must not be anywhere in an image: search all of the raw disk, free blocks included, for secrets in their usual encodings."""

from __future__ import annotations

import base64
import json
import mmap
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SHORTEST = 6  # bytes; anything shorter stands in every image by chance
_MOST_HITS = 10  # of one needle: more would say no more


@dataclass(frozen=True)
class Hit:
    needle: int  # index in the needles
    offset: int  # bytes from the start of the disk


def search_raw(raw: Path, needles: Sequence[bytes]) -> list[Hit]:
    """Where the ``needles`` stand, at most ten places each, in the order of the needles. Holes of a sparse file are skipped.

    The file is mapped, not read into memory. A needle whose file was cut into two distant blocks in its middle is missed.
    """
    longest = max(map(len, needles), default=0)
    hits: list[Hit] = []
    with raw.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size or not longest:
            return []
        parts = list(_data(file.fileno(), size))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as disk:
            for index, needle in enumerate(needles):
                found = _places(
                    disk, needle, [(max(0, start - longest), min(size, end + longest)) for start, end in parts]
                )
                hits += [Hit(index, offset) for offset in sorted(found)]
    return hits


def forms(secrets: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Each secret with its name, as it is and as it may have been written: Base64 at each of its three alignments, escaped in JSON or
    a URL, and the longest line of a text of several. Secrets shorter than SHORTEST are left out."""
    found = []
    for name, secret in secrets.items():
        secret = secret.strip()
        if len(secret) >= SHORTEST:
            found += [(name, form) for form in sorted(_forms(secret)) if len(form) >= SHORTEST]
    return found


def _forms(secret: bytes) -> Iterator[bytes]:
    yield from {secret, max(secret.splitlines(), key=len).strip(), *_base64(secret), *_escaped(secret)}


def _escaped(secret: bytes) -> Iterator[bytes]:
    yield urllib.parse.quote(secret, safe="").encode("ascii")
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8")


def _base64(secret: bytes) -> Iterator[bytes]:
    """What of the encoded text depends on the secret alone, whatever stands before and behind it."""
    for shift in range(3):
        bits = 8 * (shift + len(secret))
        encoded = base64.b64encode(bytes(shift) + secret)[-(-8 * shift // 6) : bits // 6]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _data(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are no holes."""
    start = 0
    while start < size:
        try:
            start = os.lseek(handle, start, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end
        start = end


def _places(disk: mmap.mmap, needle: bytes, parts: Sequence[tuple[int, int]]) -> set[int]:
    found: set[int] = set()
    for start, end in parts:
        at = _find(disk, needle, start, end)
        while at >= 0:
            found.add(at)
            if len(found) == _MOST_HITS:
                return found
            at = _find(disk, needle, at + 1, end)
    return found


def _find(disk: mmap.mmap, needle: bytes, start: int, end: int) -> int:
    """As ``disk.find``, which before Python 3.11.5 reads one byte behind ``end`` and so dies where the file ends with a page."""
    at = disk.find(needle, start, min(end, len(disk) - 1))
    last = len(disk) - len(needle)
    if at < 0 and start <= last and end == len(disk) and disk[last:] == needle:
        return last
    return at
