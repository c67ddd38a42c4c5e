# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The output of machines: files that QEMU writes and the guest fills, without a bound of their own.

Only the first and the last ``KEPT`` bytes of a file are ever read, and the space of the others is given back. A run
reads each byte once, and no run reads output again once it contained the evidence of a boot.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..contract import Evidence
from ..evidence import EvidenceReader
from ..kept_evidence import keep_evidence, kept_evidence

CONSOLE = "console.log"
# The output of a virtio port that only root in the guest can write. Images of 0.2.0 do not use it.
PORT = "evidence.log"
PORT_NAME = "immutable.evidence"
KEPT = 1024**2  # bytes at each end of a file
PIECE = 65536  # bytes of one read
RECLAIMED_FROM = 4 * KEPT  # bytes on disk
# Flags of fallocate(2).
_KEEP_SIZE, _PUNCH_HOLE = 1, 2


@dataclass
class _Output:
    """The output of one boot in one file, as far as it was read."""

    path: Path
    reader: EvidenceReader
    offset: int = 0

    def read(self) -> None:
        """Read what is new, but at most the first and the last ``KEPT`` bytes of the file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            size = os.fstat(handle).st_size
            while self.offset < size and not self.reader.proven:
                if KEPT <= self.offset < size - KEPT:
                    self.offset = size - KEPT
                    self.reader.skip()
                end = KEPT if self.offset < KEPT else size
                data = os.pread(handle, min(PIECE, end - self.offset, size - self.offset), self.offset)
                if not data:
                    break
                self.offset += len(data)
                self.reader.feed(data)
        finally:
            os.close(handle)


class BootEvidence:
    """Finds the evidence of running machines. It remembers what it has read."""

    def __init__(self) -> None:
        self._boots: dict[Path, tuple[str, _Output, _Output]] = {}

    def of(self, folder: Path, boot: str, nonce: str) -> Evidence | None:
        """Return the evidence of a machine's present boot, or None.

        The guest writes to the port before it starts anything that is not its system's. So as soon as the port has
        output, it alone decides, and nothing on the console counts.

        Args:
            folder: of the machine.
            boot: the identity of its present boot.
            nonce: of its launch.
        """
        known, port, console = self._boots.get(folder, ("", None, None))
        if known != boot or port is None or console is None:
            proven = kept_evidence(folder, boot)
            port, console = (_Output(folder / name, EvidenceReader(nonce, proven)) for name in (PORT, CONSOLE))
            self._boots[folder] = (boot, port, console)
        for output in (port, console):
            if output.reader.proven:
                return output.reader.evidence
        port.read()
        output = port
        if not port.offset:
            console.read()
            output = console
        if output.reader.proven and output.reader.evidence:
            keep_evidence(folder, boot, output.reader.evidence)
        return output.reader.evidence


def console_text(folder: Path) -> str:
    """Return what a guest has printed since it was last started: the first and the last ``KEPT`` bytes as text."""
    try:
        with (folder / CONSOLE).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= 2 * KEPT:
                return file.read(2 * KEPT).decode("utf-8", "replace")
            first = file.read(KEPT)
            file.seek(size - KEPT)
            left_out = f"\n[{size - 2 * KEPT} bytes are left out]\n".encode()
            return (first + left_out + file.read(KEPT)).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def reclaim(folder: Path) -> None:
    """Give back the disk space of output that is never read. A file system that cannot do this is left as it is."""
    for name in (CONSOLE, PORT):
        with suppress(OSError):
            state = os.stat(folder / name)
            if state.st_blocks * 512 > RECLAIMED_FROM:
                _punch(folder / name, KEPT, state.st_size - 2 * KEPT)


def _punch(path: Path, offset: int, length: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        fallocate(handle, _PUNCH_HOLE | _KEEP_SIZE, offset, length)
    finally:
        os.close(handle)
