# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The output of containers: logs that the engine writes and keeps bounded, and the evidence in them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..contract import Evidence
from ..evidence import EvidenceReader
from ..kept_evidence import keep_evidence, kept_evidence
from .command import CONSOLE, MAX_LOG

_PIECE = 1024**2  # bytes of one read
_MAX_LINE = 65536  # bytes of one line of the log; the engine writes shorter ones
_ENTRY = re.compile(rb"[^ ]{1,64} (?:stdout|stderr) ([FP]) ")


@dataclass
class LogText:
    """Reads a log of podman: each line has a time, a stream, and whether the line is complete.

    The text comes in pieces, which may end anywhere.
    """

    _rest: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Return what the container printed, as far as whole lines of the log tell it."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MAX_LINE]
        return b"".join(map(_printed, lines))


def _printed(line: bytes) -> bytes:
    entry = _ENTRY.match(line)
    if entry is None:
        return b"(left out)\n" if line else b""
    return line[entry.end() :] + (b"\n" if entry[1] == b"F" else b"")


@dataclass
class _Boot:
    """The output of one boot, as far as it was read."""

    identity: str
    reader: EvidenceReader
    log: LogText = field(default_factory=LogText)
    file: int = 0  # inode: the engine replaces a log that has become too long
    offset: int = 0

    def read(self, path: Path) -> None:
        """Read what is new in the log of podman."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            file = os.fstat(handle).st_ino
            if file != self.file:
                self.file, self.offset, self.log = file, 0, LogText()
                self.reader.skip()
                self.reader.feed(b"\n")
            while self.offset < 2 * MAX_LOG and not self.reader.proven:
                data = os.pread(handle, _PIECE, self.offset)
                if not data:
                    break
                self.offset += len(data)
                self.reader.feed(self.log.feed(data))
        finally:
            os.close(handle)


class BootEvidence:
    """Finds what running containers printed when they sealed themselves. It remembers what it has read."""

    def __init__(self) -> None:
        self._boots: dict[Path, _Boot] = {}

    def of(self, folder: Path, boot: str, nonce: str, printed: str | None = None) -> Evidence | None:
        """Return the evidence of a machine's present boot, or None.

        Args:
            folder: of the machine.
            boot: the identity of its present boot.
            nonce: of its launch.
            printed: all that the container printed, for an engine that keeps its logs elsewhere.
        """
        known = self._boots.get(folder)
        if known is None or known.identity != boot:
            known = self._boots[folder] = _Boot(boot, EvidenceReader(nonce, kept_evidence(folder, boot)))
        if known.reader.proven:
            return known.reader.evidence
        if printed is None:
            known.read(folder / CONSOLE)
        else:
            known.reader.feed(printed.encode("utf-8", "replace") + b"\n")
        if known.reader.proven and known.reader.evidence:
            keep_evidence(folder, boot, known.reader.evidence)
        return known.reader.evidence


def console_text(folder: Path) -> str:
    """Return what a container of podman has printed since it was last started."""
    try:
        with (folder / CONSOLE).open("rb") as file:
            return LogText().feed(file.read(2 * MAX_LOG)).decode("utf-8", "replace")
    except OSError:
        return ""
