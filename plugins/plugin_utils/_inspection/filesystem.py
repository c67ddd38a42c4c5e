# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read an ext2, ext3 or ext4 file system without root and without mounting it.

``debugfs`` of e2fsprogs reads; nothing is extracted, so owners, modes, devices and names that this machine could not make
do no harm. Everything is asked by inode number, since names can hold any byte but a slash.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from .._core.errors import ImageError
from .tools import environment, last_words, program

FILE, FOLDER, LINK = "file", "dir", "link"
_TYPES = {0o01: "fifo", 0o02: "char", 0o04: FOLDER, 0o06: "block", 0o10: FILE, 0o12: LINK, 0o14: "socket"}
_ROOT_INODE = 2
_INLINE_LINK = 60  # a shorter link lives in its inode
_CHUNK = 1024 * 1024
# A line of "ls -p"; a name cannot hold a slash, but a newline.
_LISTED = re.compile(rb"/(\d+)/(\d{6})/(\d+)/(\d+)/([^/]*)/(\d*)/\n")
_DEVICE = re.compile(rb"Device major/minor number: (\d+):(\d+)")
_BLOCK_SIZE = re.compile(rb"Block size:\s+(\d+)")
_OWNED = re.compile(rb"^(\d+)\t(\d+)$", re.MULTILINE)
_FAST_LINK = b'Fast link dest: "'


@dataclass(frozen=True)
class Entry:
    """One name in the file system."""

    inode: int
    type: str  # file, dir, link, char, block, fifo, socket
    mode: int  # permission bits, setuid, setgid and sticky among them
    uid: int
    gid: int
    size: int  # bytes; 0 for what is neither file nor link
    target: str = ""  # of a link; of a device "<major>:<minor>"


class FileSystem:
    """``entries`` by absolute path, bytes that are not UTF-8 as Python's surrogate escapes. Raises ImageError."""

    def __init__(self, raw: Path, offset: int) -> None:
        self._folder = raw.parent  # debugfs takes a question mark anywhere in the path for the start of its options
        self._device = f"{raw.name}?offset={offset}"
        entries = self._walk()
        targets = self._targets(entries.values())
        self.entries: dict[str, Entry] = {
            path: replace(entry, target=targets.get(entry.inode, "")) for path, entry in sorted(entries.items())
        }

    def checksums(self) -> dict[int, str]:
        """SHA-256 (hexadecimal) of every file's content, by inode, in one pass."""
        sums = {}
        for inode, chunks in self._contents(
            {entry.inode: entry.size for entry in self.entries.values() if entry.type == FILE}
        ):
            checksum = hashlib.sha256()
            for chunk in chunks:
                checksum.update(chunk)
            sums[inode] = checksum.hexdigest()
        return sums

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of ``paths`` that are files."""
        wanted = {
            path: self.entries[path] for path in paths if path in self.entries and self.entries[path].type == FILE
        }
        found = {
            inode: b"".join(chunks)
            for inode, chunks in self._contents({entry.inode: entry.size for entry in wanted.values()})
        }
        return {path: found[entry.inode] for path, entry in wanted.items()}

    def owners(self, offsets: Iterable[int]) -> dict[int, str]:
        """Which file owns a byte of the file system, by its offset; those that no file owns are left out."""
        asked = list(offsets)
        if not asked:
            return {}
        block = int(_BLOCK_SIZE.search(self._debugfs(["show_super_stats -h"]))[1])  # type: ignore[index]  # it always says so
        output = self._debugfs(["icheck " + " ".join(str(offset // block) for offset in asked)])
        inodes = {int(number): int(inode) for number, inode in _OWNED.findall(output)}
        paths = {entry.inode: path for path, entry in self.entries.items()}
        found = {offset: paths.get(inodes.get(offset // block, 0)) for offset in asked}
        return {offset: path for offset, path in found.items() if path}

    def _walk(self) -> dict[str, Entry]:
        """Level by level, each by one call."""
        entries = {"/": Entry(_ROOT_INODE, FOLDER, 0o755, 0, 0, 0)}
        level = {_ROOT_INODE: ""}
        seen = {_ROOT_INODE}
        while level:
            parent, below = "", {}
            for inode, mode, uid, gid, name, size in self._listed(level):
                entry = Entry(inode, _TYPES.get(mode >> 12, "unknown"), mode & 0o7777, uid, gid, size)
                if name == ".":
                    parent = level[inode]
                    entries[parent or "/"] = entry
                elif name != ".." and inode:
                    entries[f"{parent}/{name}"] = entry
                    if entry.type == FOLDER and inode not in seen:
                        below[inode] = f"{parent}/{name}"
            seen.update(below)
            level = below
        if len(entries) == 1:
            raise ImageError("the image's root file system is empty or cannot be read")
        return entries

    def _listed(self, folders: Mapping[int, str]) -> Iterator[tuple[int, int, int, int, str, int]]:
        output = self._debugfs([f"ls -p <{inode}>" for inode in folders])
        dots = 0
        for found in _LISTED.finditer(output):
            inode, mode, uid, gid, name, size = found.groups()
            dots += name == b"."
            yield int(inode), int(mode, 8), int(uid), int(gid), name.decode("utf-8", "surrogateescape"), int(size or 0)
        if dots != len(folders):
            raise ImageError(
                f"debugfs listed {dots} of {len(folders)} folders: the image's root file system is damaged"
            )

    def _targets(self, entries: Iterable[Entry]) -> dict[int, str]:
        """Where links lead and which devices the device nodes are, by inode."""
        special = {entry.inode: entry for entry in entries if entry.type in (LINK, "char", "block")}
        long = {
            inode: entry.size for inode, entry in special.items() if entry.type == LINK and entry.size >= _INLINE_LINK
        }
        found = {inode: b"".join(chunks) for inode, chunks in self._contents(long)}
        asked = [entry for inode, entry in special.items() if inode not in long]
        output = self._debugfs([f"stat <{entry.inode}>" for entry in asked])
        at = 0
        for entry in asked:
            at = _after(output, b"debugfs: stat <%d>\n" % entry.inode, at, entry)
            if entry.type == LINK:
                at = _after(output, _FAST_LINK, at, entry)
                found[entry.inode] = output[at : at + entry.size]
                at += entry.size
            else:
                device = _DEVICE.search(output, at)
                if device is None:
                    raise ImageError(f"debugfs did not say which device inode {entry.inode} is")
                found[entry.inode] = b":".join(b"%d" % int(number) for number in device.groups())
        return {inode: target.decode("utf-8", "surrogateescape") for inode, target in found.items()}

    def _contents(self, sizes: Mapping[int, int]) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Stream the contents of inodes of known sizes out of one process."""
        if not sizes:
            return
        order = sorted(sizes)
        with _commands([f"cat <{inode}>" for inode in order]) as script, tempfile.TemporaryFile() as words:
            process = subprocess.Popen(
                [program("debugfs"), "-f", script, self._device],
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                bufsize=_CHUNK,
            )
            output = cast("IO[bytes]", process.stdout)
            try:
                for inode in order:
                    _expect(output, b"debugfs: cat <%d>\n" % inode, words)
                    yield inode, _portion(output, sizes[inode], inode)
                _expect(output, b"", words)
            finally:
                process.kill()
                output.close()
                process.wait()

    def _debugfs(self, commands: Sequence[str]) -> bytes:
        if not commands:
            return b""
        with _commands(commands) as script:
            argv = [program("debugfs"), "-f", script, self._device]
            done = subprocess.run(
                argv, cwd=self._folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        if not done.stdout:
            raise ImageError(f"debugfs cannot read the image's root file system: {last_words(done.stderr)}")
        return done.stdout


@contextmanager
def _commands(lines: Sequence[str]) -> Iterator[str]:
    """A file with ``lines``, by its path."""
    with tempfile.NamedTemporaryFile("w", prefix="debugfs-", encoding="ascii") as script:
        script.write("".join(f"{line}\n" for line in lines))
        script.flush()
        yield script.name


def _after(output: bytes, mark: bytes, start: int, entry: Entry) -> int:
    at = output.find(mark, start)
    if at < 0:
        raise ImageError(f"debugfs did not describe inode {entry.inode}: the image's root file system is damaged")
    return at + len(mark)


def _expect(stream: IO[bytes], line: bytes, words: IO[bytes]) -> None:
    """Whatever else comes means that the file before was cut short or could not be read."""
    if stream.readline() != line:
        words.seek(0)
        raise ImageError(f"debugfs could not read every file of the image: {last_words(words.read())}")


def _portion(stream: IO[bytes], size: int, inode: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK))
        if not chunk:
            raise ImageError(f"debugfs stopped in the middle of inode {inode}: the image's root file system is damaged")
        size -= len(chunk)
        yield chunk
