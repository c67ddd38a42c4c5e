# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads an ext2, ext3 or ext4 file system without root and without mounting it.

It uses ``debugfs`` of e2fsprogs. Nothing is extracted, so the owners, modes, devices and names in the file system do
not matter. Queries use inode numbers, because names can contain any byte except a slash.
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
from typing import IO, Literal, Protocol, cast

from ...module_utils._manifest import EntryType, attribute_text, entry_type, is_compared
from .._core.errors import ImageError
from .tools import environment, last_lines, program

FILE: Literal["file"] = "file"
FOLDER: Literal["dir"] = "dir"
LINK: Literal["link"] = "link"
_ROOT_INODE = 2
_INLINE_LINK = 60  # characters; a shorter target is stored in the inode
_CHUNK = 1024 * 1024
# A line of "ls -p". A name can contain a newline, but not a slash.
_LISTED = re.compile(rb"/(\d+)/(\d{6})/(\d+)/(\d+)/([^/]*)/(\d*)/\n")
_DEVICE = re.compile(rb"Device major/minor number: (\d+):(\d+)")
_BLOCK_SIZE = re.compile(rb"Block size:\s+(\d+)")
_OWNED = re.compile(rb"^(\d+)\t(\d+)$", re.MULTILINE)
_FAST_LINK = b'Fast link dest: "'
_ATTRIBUTES_OF = re.compile(rb"debugfs: ea_list <(\d+)>")
_ATTRIBUTE = re.compile(rb"  ([!-~]+) \(\d+\)(?: = .*)?")
_VALUE = re.compile(rb"debugfs: ea_get -x <(\d+)> (\S+)\n(\S+) \(\d+\)(?: = ([0-9a-f ]*))?\n")


@dataclass(frozen=True)
class Entry:
    """One name in the file system.

    Attributes:
        mode: permission bits, including setuid, setgid and sticky.
        size: bytes; 0 unless it is a file or link.
        target: of a link; ``<major>:<minor>`` of a device.
    """

    inode: int
    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""


class FileTree(Protocol):
    """The files of an image, wherever they are. See ``FileSystem``."""

    entries: dict[str, Entry]

    def checksums(self) -> dict[int, str]:
        """The hexadecimal SHA-256 of every regular file, by inode."""

    def read(self, paths: Iterable[str], /) -> dict[str, bytes]:
        """The contents of regular files, by path."""

    def attributes(self) -> dict[int, dict[str, str]]:
        """The extended attributes by inode and name, in hexadecimal."""

    def owners(self, offsets: Iterable[int], /) -> dict[int, str]:
        """The path of the file that each byte belongs to, by the byte's offset."""


class FileSystem:
    """A file system in a raw disk. Raises ImageError if it cannot be read.

    Args:
        offset: bytes from the start of the disk.

    Attributes:
        entries: by absolute path. Bytes that are not UTF-8 are Python's surrogate escapes.
    """

    def __init__(self, raw: Path, offset: int) -> None:
        self._folder = raw.parent  # debugfs parses options after any question mark in the path
        self._device = f"{raw.name}?offset={offset}"
        entries = self._walk()
        targets = self._targets(entries.values())
        self.entries: dict[str, Entry] = {
            path: replace(entry, target=targets.get(entry.inode, "")) for path, entry in sorted(entries.items())
        }

    def checksums(self) -> dict[int, str]:
        """Return the hexadecimal SHA-256 of each file's content by inode. Reads each file once."""
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
        """Return the contents by path. Paths that are not files are skipped."""
        files = {path: self.entries[path] for path in paths if path in self.entries and self.entries[path].type == FILE}
        found = {
            inode: b"".join(chunks)
            for inode, chunks in self._contents({entry.inode: entry.size for entry in files.values()})
        }
        return {path: found[entry.inode] for path, entry in files.items()}

    def attributes(self) -> dict[int, dict[str, str]]:
        """Return the extended attributes by inode and name, with their values as ``attribute_text`` writes them.

        Contains only inodes that have any. File capabilities and access control lists are such attributes.
        """
        inodes = sorted({entry.inode for entry in self.entries.values()})
        names: list[tuple[int, str]] = []
        inode = 0
        for line in self._debugfs([f"ea_list <{number}>" for number in inodes]).split(b"\n"):
            if command := _ATTRIBUTES_OF.fullmatch(line):
                inode = int(command[1])
            elif (listed := _ATTRIBUTE.fullmatch(line)) and is_compared(name := listed[1].decode("ascii")):
                names.append((inode, name))
        found: dict[int, dict[str, str]] = {}
        # A name can contain a newline and look like several lines. The values prove which attributes exist.
        output = self._debugfs([f"ea_get -x <{number}> {name}" for number, name in names])
        for number, asked, answered, value in _VALUE.findall(output):
            if asked == answered:
                name = asked.decode("ascii")
                found.setdefault(int(number), {})[name] = attribute_text(name, bytes.fromhex(value.decode("ascii")))
        return found

    def owners(self, offsets: Iterable[int]) -> dict[int, str]:
        """Return the path of the file that contains each offset (bytes). Offsets outside of files are skipped."""
        queries = list(offsets)
        if not queries:
            return {}
        # Always in the output.
        block = int(_BLOCK_SIZE.search(self._debugfs(["show_super_stats -h"]))[1])  # type: ignore[index]
        output = self._debugfs(["icheck " + " ".join(str(offset // block) for offset in queries)])
        inodes = {int(number): int(inode) for number, inode in _OWNED.findall(output)}
        paths = {entry.inode: path for path, entry in self.entries.items()}
        found = {offset: paths.get(inodes.get(offset // block, 0)) for offset in queries}
        return {offset: path for offset, path in found.items() if path}

    def _walk(self) -> dict[str, Entry]:
        """List all folders, one call for each level."""
        entries = {"/": Entry(inode=_ROOT_INODE, type=FOLDER, mode=0o755, uid=0, gid=0, size=0)}
        level = {_ROOT_INODE: ""}
        visited = {_ROOT_INODE}
        while level:
            parent, below = "", {}
            for inode, mode, uid, gid, name, size in self._listed(level):
                entry = Entry(inode=inode, type=entry_type(mode), mode=mode & 0o7777, uid=uid, gid=gid, size=size)
                if name == ".":
                    parent = level[inode]
                    entries[parent or "/"] = entry
                elif name != ".." and inode:
                    entries[f"{parent}/{name}"] = entry
                    if entry.type == FOLDER and inode not in visited:
                        below[inode] = f"{parent}/{name}"
            visited.update(below)
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
        """The targets of links and the numbers of devices, by inode."""
        special = {entry.inode: entry for entry in entries if entry.type in (LINK, "char", "block")}
        long = {
            inode: entry.size for inode, entry in special.items() if entry.type == LINK and entry.size >= _INLINE_LINK
        }
        found = {inode: b"".join(chunks) for inode, chunks in self._contents(long)}
        queries = [entry for inode, entry in special.items() if inode not in long]
        output = self._debugfs([f"stat <{entry.inode}>" for entry in queries])
        at = 0
        for entry in queries:
            at = _after(output, b"debugfs: stat <%d>\n" % entry.inode, at, entry)
            if entry.type == LINK:
                at = _after(output, _FAST_LINK, at, entry)
                found[entry.inode] = output[at : at + entry.size]
                at += entry.size
            else:
                device = _DEVICE.search(output, at)
                if device is None:
                    raise ImageError(f"debugfs did not report the device number of inode {entry.inode}")
                found[entry.inode] = b":".join(b"%d" % int(number) for number in device.groups())
        return {inode: target.decode("utf-8", "surrogateescape") for inode, target in found.items()}

    def _contents(self, sizes: Mapping[int, int]) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Stream the contents of inodes of known sizes from one process."""
        if not sizes:
            return
        order = sorted(sizes)
        with _commands([f"cat <{inode}>" for inode in order]) as script, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [program("debugfs"), "-f", script, self._device],
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=_CHUNK,
            )
            output = cast("IO[bytes]", process.stdout)
            try:
                for inode in order:
                    _expect(output, b"debugfs: cat <%d>\n" % inode, errors)
                    yield inode, _portion(output, sizes[inode], inode)
                _expect(output, b"", errors)
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
            raise ImageError(f"debugfs cannot read the image's root file system: {last_lines(done.stderr)}")
        return done.stdout


@contextmanager
def _commands(lines: Sequence[str]) -> Iterator[str]:
    """Write ``lines`` to a temporary file and yield its path."""
    with tempfile.NamedTemporaryFile("w", prefix="debugfs-", encoding="ascii") as script:
        script.write("".join(f"{line}\n" for line in lines))
        script.flush()
        yield script.name


def _after(output: bytes, mark: bytes, start: int, entry: Entry) -> int:
    """The position after the next ``mark``."""
    at = output.find(mark, start)
    if at < 0:
        raise ImageError(f"debugfs did not report inode {entry.inode}: the image's root file system is damaged")
    return at + len(mark)


def _expect(stream: IO[bytes], line: bytes, errors: IO[bytes]) -> None:
    """Read one line. Any other line means that the file before it was truncated or unreadable."""
    if stream.readline() != line:
        errors.seek(0)
        raise ImageError(f"debugfs could not read every file of the image: {last_lines(errors.read())}")


def _portion(stream: IO[bytes], size: int, inode: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK))
        if not chunk:
            raise ImageError(f"debugfs stopped in the middle of inode {inode}: the image's root file system is damaged")
        size -= len(chunk)
        yield chunk
