# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that were gathered in a build machine, where its disk cannot be read from outside: what an SBOM is made of."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from .._core.errors import ImageError
from .filesystem import FILE, Entry

# Shell, as root in the guest: what make_sbom reads, as a tarball at the path that follows.
_LISTED = (
    "find / -xdev -type f \\( -path '/var/lib/dpkg/status' -o -path '/var/lib/dpkg/status.d/*' -o -path '/usr/share/doc/*/copyright'"
    " -o -path '/usr/lib/os-release' -o -path '*.dist-info/METADATA' -o -path '*.egg-info/PKG-INFO' -o -name '*.egg-info' \\) -print0"
)


def gathering(archive: str) -> str:
    """One line of shell."""
    return f"{_LISTED} | tar -C / -czf {archive} --null -T - 2>/dev/null"


class Gathered:
    """Like ``FileSystem``, with the files of a tarball alone. Raises ImageError where it cannot be read."""

    def __init__(self, archive: Path) -> None:
        try:
            with tarfile.open(archive) as tree:
                self._contents = {f"/{each.name.lstrip('/')}": _bytes(tree, each) for each in tree if each.isreg()}
        except (OSError, tarfile.TarError) as error:
            raise ImageError(f"what the build machine gathered for the SBOM cannot be read: {error}") from error
        self.entries = {path: Entry(0, FILE, 0o644, 0, 0, len(data)) for path, data in self._contents.items()}

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self._contents[path] for path in paths if path in self._contents}


def _bytes(tree: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tree.extractfile(entry)
    return file.read() if file else b""
