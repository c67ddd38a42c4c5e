# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inspects a new image: makes its manifest and SBOM, and looks for residue. Reads the disk once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._core.errors import ImageError
from .collected import CollectedFiles
from .disk import open_disk, raw_disk
from .filesystem import FileSystem, FileTree
from .layer import LayerFiles
from .listed import ListedFiles
from .manifest import Manifest, make_manifest, seal_facts
from .residue import Finding, residue_by_files
from .sbom import make_sbom
from .search import MIN_LENGTH, needle_forms, search_raw


@dataclass(frozen=True)
class Inspection:
    """The result of an inspection.

    Attributes:
        sbom: CycloneDX 1.6, JSON.
        findings: residue, one line each, without the value of a secret. An image with findings must not be used.
        not_searched: names of the secrets that are too short to search for.
    """

    manifest: Manifest
    sbom: bytes
    findings: tuple[str, ...]
    not_searched: tuple[str, ...]


def inspect_image(qcow2: Path, workdir: Path, digest: str, needles: Mapping[str, bytes]) -> Inspection:
    """Inspect an image without mounting it and without privileges.

    Args:
        qcow2: the image.
        workdir: folder for a temporary sparse file; one run at a time.
        digest: the image's, ``sha256:<hex>``.
        needles: what must not be anywhere on the disk, by the name to report: secrets and the marker of the payload.

    Raises ImageError if the image cannot be read or a program or library is missing.
    """
    try:
        with raw_disk(qcow2, workdir) as raw:
            return inspect_disk(raw, digest, needles)
    except OSError as error:
        raise ImageError(f"cannot inspect the image: {error.filename or workdir}: {error.strerror}") from error


def inspect_disk(raw: Path, digest: str, needles: Mapping[str, bytes]) -> Inspection:
    """Inspect a raw disk; see ``inspect_image``.

    Raises NoFileSystemError if its file system is not one that can be read, ImageError if it cannot be read otherwise.
    """
    try:
        disk = open_disk(raw)
        files = FileSystem(disk.raw, disk.root.start)
        bytes_of_disk = _Raw(disk.raw, (disk.root.start, disk.root.size), disk.checksums())
        return _inspect(files, bytes_of_disk, digest, needles)
    except OSError as error:
        raise ImageError(f"cannot inspect the image: {error.filename or raw}: {error.strerror}") from error


def inspect_listing(collected: CollectedFiles, digest: str) -> Inspection:
    """Inspect an image by what its build machine sent. Its bytes and its boot loader are unknown.

    Raises ImageError if that is incomplete or damaged.
    """
    files = ListedFiles(collected)
    facts = seal_facts(files)
    return Inspection(
        manifest=make_manifest(files, digest, facts, {}),
        sbom=make_sbom(collected, digest, str(facts.get("service", "image")), str(facts.get("version", ""))),
        findings=tuple(map(str, residue_by_files(files))),
        not_searched=(),
    )


def inspect_archive(archive: Path, digest: str, needles: Mapping[str, bytes]) -> tuple[Inspection, LayerFiles]:
    """Inspect the archive of a container image without an engine. Also returns its files.

    Args:
        digest: see ``inspect_image``.
        needles: what must not be anywhere in the archive, see ``inspect_image``.

    Raises ImageError if the archive cannot be read or a library is missing.
    """
    try:
        files = LayerFiles(archive)
        return _inspect(files, _Raw(archive), digest, needles), files
    except OSError as error:
        raise ImageError(f"cannot inspect the image: {error.filename or archive}: {error.strerror}") from error


@dataclass(frozen=True)
class _Raw:
    """Every byte of an image.

    Attributes:
        root: the part with the root file system: start and size in bytes. None if the file system counts from the
            start of the file.
        boot: see ``Manifest``.
    """

    path: Path
    root: tuple[int, int] | None = None
    boot: Mapping[str, str] = field(default_factory=dict)


def _inspect(files: FileTree, raw: _Raw, digest: str, needles: Mapping[str, bytes]) -> Inspection:
    facts = seal_facts(files)
    return Inspection(
        manifest=make_manifest(files, digest, facts, raw.boot),
        sbom=make_sbom(files, digest, str(facts.get("service", "image")), str(facts.get("version", ""))),
        findings=tuple(map(str, (*residue_by_files(files), *_residue_in_bytes(raw, files, needles)))),
        not_searched=tuple(sorted(name for name, needle in needles.items() if len(needle.strip()) < MIN_LENGTH)),
    )


def _residue_in_bytes(raw: _Raw, files: FileTree, needles: Mapping[str, bytes]) -> list[Finding]:
    """Where the needles are: the offset, and the file that contains it."""
    forms = needle_forms(needles)
    hits = search_raw(raw.path, [needle for _name, needle in forms])
    names = {hit.offset: forms[hit.needle][0] for hit in hits}
    start, size = raw.root or (0, raw.path.stat().st_size)
    owners = files.owners([offset - start for offset in names if start <= offset < start + size])
    return [
        Finding(name, f"byte {offset}, {_describe(owners.get(offset - start))}")
        for offset, name in sorted(names.items())
    ]


def _describe(owner: str | None) -> str:
    return f"in {owner}" if owner else "in no file (a block of a deleted file, or outside the file system)"
