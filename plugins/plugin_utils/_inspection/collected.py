# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that the build machine sends for the SBOM, because its disk cannot be read from outside."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from .._core.errors import ImageError
from .filesystem import FILE, Entry

# Shell that lists the files that make_sbom reads.
_FIND = (
    "find / -xdev -type f \\( -path '/var/lib/dpkg/status' -o -path '/var/lib/dpkg/status.d/*'"
    " -o -path '/usr/share/doc/*/copyright' -o -path '/usr/lib/os-release' -o -path '*.dist-info/METADATA'"
    " -o -path '*.egg-info/PKG-INFO' -o -name '*.egg-info' \\) -print0"
)


def collect_command(archive: str) -> str:
    """Return a line of shell that root runs in the guest to write the files to a tarball."""
    return f"{_FIND} | tar -C / -czf {archive} --null -T - 2>/dev/null"


class CollectedFiles:
    """The files of the tarball, with the interface of ``FileSystem``. Raises ImageError if it cannot be read."""

    def __init__(self, archive: Path) -> None:
        try:
            with tarfile.open(archive) as tree:
                self._contents = {
                    f"/{member.name.lstrip('/')}": _content(tree, member) for member in tree if member.isreg()
                }
        except (OSError, tarfile.TarError) as error:
            raise ImageError(f"cannot read the files that the build machine sent for the SBOM: {error}") from error
        self.entries = {
            path: Entry(inode=0, type=FILE, mode=0o644, uid=0, gid=0, size=len(data))
            for path, data in self._contents.items()
        }

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents by path. Paths that were not sent are skipped."""
        return {path: self._contents[path] for path in paths if path in self._contents}


def _content(tree: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tree.extractfile(member)
    return file.read() if file else b""
