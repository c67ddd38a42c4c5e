# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that is asked of a fresh image before it may be kept, in one reading of its disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .._core.errors import ImageError
from .disk import Disk, open_disk, raw_disk
from .filesystem import FileSystem
from .manifest import Manifest, make_manifest, seal_facts
from .residue import Finding, residue_by_files
from .sbom import make_sbom
from .search import SHORTEST, forms, search_raw

_PYTHON = re.compile(r"/usr/(?:local/)?bin/python(3\.\d+)")


@dataclass(frozen=True)
class Inspection:
    manifest: Manifest
    sbom: bytes  # CycloneDX 1.6, JSON
    findings: tuple[
        str, ...
    ]  # residue, a line each, without any secret's value; an image that has any is not to be used
    not_searched: tuple[str, ...]  # names of the secrets too short to be searched for
    pythons: tuple[str, ...]  # such as "3.11"


def inspect_image(qcow2: Path, workdir: Path, digest: str, needles: Mapping[str, bytes]) -> Inspection:
    """Read the image's disk once. Nothing is mounted, and no privilege is needed.

    Args:
        qcow2: the image; a raw disk does as well.
        workdir: for the raw disk, a sparse file that is removed afterwards; one run at a time.
        digest: the image's, ``sha256:<hex>``.
        needles: what must stand nowhere on the disk, by the name to report: secrets and the marker of the payload.

    Raises ImageError where the image cannot be read or a program or library is missing.
    """
    try:
        with raw_disk(qcow2, workdir) as raw:
            return _inspect(open_disk(raw), digest, needles)
    except OSError as error:
        raise ImageError(f"the image cannot be inspected: {error.filename or workdir}: {error.strerror}") from error


def _inspect(disk: Disk, digest: str, needles: Mapping[str, bytes]) -> Inspection:
    files = FileSystem(disk.raw, disk.root.start)
    facts = seal_facts(files)
    return Inspection(
        manifest=make_manifest(disk, files, digest, facts),
        sbom=make_sbom(files, digest, str(facts.get("service", "image")), str(facts.get("version", ""))),
        findings=tuple(map(str, (*residue_by_files(files), *_residue_on_disk(disk, files, needles)))),
        not_searched=tuple(sorted(name for name, needle in needles.items() if len(needle.strip()) < SHORTEST)),
        pythons=tuple(sorted({found[1] for path in files.entries if (found := _PYTHON.fullmatch(path))})),
    )


def _residue_on_disk(disk: Disk, files: FileSystem, needles: Mapping[str, bytes]) -> list[Finding]:
    """The needles' places on the whole disk, told by the file that owns the bytes where one does."""
    wanted = forms(needles)
    hits = search_raw(disk.raw, [needle for _name, needle in wanted])
    names = {hit.offset: wanted[hit.needle][0] for hit in hits}
    owners = files.owners(
        [offset - disk.root.start for offset in names if disk.root.start <= offset < disk.root.start + disk.root.size]
    )
    return [
        Finding(name, f"byte {offset}, {_place(owners.get(offset - disk.root.start))}")
        for offset, name in sorted(names.items())
    ]


def _place(owner: str | None) -> str:
    return f"in {owner}" if owner else "in no file (a deleted one's block, or outside the file system)"
