# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that the build machine sends for the SBOM and the manifest, in case its disk cannot be read from outside."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...module_utils._seal import FACTS_PATH
from .._core.errors import ImageError
from .filesystem import FILE, Entry

MAX_BYTES = 1 << 30  # of all files together
LISTING = "/listing.json.gz"  # of all files, see module_utils/_listing
# Shell that lists the files that make_sbom and make_manifest read.
_FIND = (
    "find / -xdev -type f \\( -path '/var/lib/dpkg/status' -o -path '/var/lib/dpkg/status.d/*'"
    " -o -path '/usr/share/doc/*/copyright' -o -path '/usr/lib/os-release' -o -path '*.dist-info/METADATA'"
    " -o -path '*.egg-info/PKG-INFO' -o -name '*.egg-info'"
    " -o -path '/var/lib/rpm/rpmdb.sqlite*' -o -path '/usr/lib/sysimage/rpm/rpmdb.sqlite*'"
    f" -o -path '{FACTS_PATH}' -o -path /etc/fstab \\) -print0"
)


def collect_command(archive: str, folder: str, script: str) -> str:
    """Return a line of shell that root runs in the guest to write the files and a list of all files to a tarball.

    Args:
        folder: an empty one, in which the root file system is mounted for a moment, without what hides parts of it.
        script: path of ``_listing.py``.
    """
    mounted = f'mount --bind / "$0" && exec python3 -IBS {script} "$0" {folder}{LISTING}'
    # Without the list, the image has no manifest if its disk cannot be read.
    make_list = f"mkdir {folder}/root && unshare --mount sh -c '{mounted}' {folder}/root || : > {folder}{LISTING}"
    pack = f"tar -czf {archive} -C {folder} {LISTING[1:]} -C / --null -T -"
    return f"{{ {make_list}; }}; {_FIND} | {pack} 2>/dev/null"


class CollectedFiles:
    """The files of the tarball, with the interface of ``FileSystem``. Raises ImageError if it cannot be read."""

    def __init__(self, archive: Path) -> None:
        try:
            with tarfile.open(archive) as tree:
                self._contents = dict(_contents(tree))
        except (OSError, tarfile.TarError) as error:
            raise ImageError(f"cannot read the files that the build machine sent for the SBOM: {error}") from error
        self.entries = {
            path: Entry(inode=0, type=FILE, mode=0o644, uid=0, gid=0, size=len(data))
            for path, data in self._contents.items()
        }

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents by path. Paths that were not sent are skipped."""
        return {path: self._contents[path] for path in paths if path in self._contents}


def _contents(tree: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of each regular file."""
    left = MAX_BYTES
    for member in tree:
        if not member.isreg():
            continue
        left -= member.size
        if left < 0:
            raise tarfile.ReadError(f"its files have more than {MAX_BYTES} bytes")
        file = tree.extractfile(member)
        yield f"/{member.name.lstrip('/')}", file.read() if file else b""
