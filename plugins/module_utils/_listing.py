# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists every file below a folder with its checksum, in a build machine whose disk cannot be read from outside.

Usage: _listing FOLDER ARCHIVE. Only the folder's own file system is listed. The archive is compressed JSON: ``files``
and ``xattrs`` as a manifest has them, see ``_inspection/manifest`` on the controller.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import stat
import sys
from typing import Any, Dict, Iterator, List, Tuple

SCHEMA = 1
BLOCK = 1024 * 1024  # bytes
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
GONE = (errno.ENOENT, errno.ESTALE)  # of a file that was removed meanwhile


def listing(root: str) -> Dict[str, Any]:
    """Return the files below a folder. Raises OSError for a file that cannot be read."""
    files: Dict[str, List[Any]] = {}
    attributes: Dict[str, Dict[str, str]] = {}
    for path, place, found in entries(root):
        try:
            files[path] = row(place, found)
            named = {name: os.getxattr(place, name, follow_symlinks=False).hex() for name in xattr_names(place)}
        except OSError as error:
            if error.errno not in GONE:
                raise
            files.pop(path, None)
            continue
        if named:
            attributes[path] = named
    return {"schema": SCHEMA, "files": files, "xattrs": attributes}


def entries(root: str) -> Iterator[Tuple[str, str, os.stat_result]]:
    """Yield each entry's path in the image, its path here, and its status. Folders come before what is in them."""
    top = os.lstat(root)
    waiting = [("/", root, top)]
    while waiting:
        path, place, found = waiting.pop()
        yield path, place, found
        if not stat.S_ISDIR(found.st_mode) or found.st_dev != top.st_dev:
            continue
        for name in sorted(os.listdir(place), reverse=True):
            below = os.path.join(place, name)
            try:
                waiting.append((os.path.join(path, name), below, os.lstat(below)))
            except OSError as error:
                if error.errno not in GONE:
                    raise


def row(place: str, found: os.stat_result) -> List[Any]:
    """Return type, mode, uid, gid, size and content of an entry."""
    kind = TYPES.get(stat.S_IFMT(found.st_mode), "unknown")
    content, size = "", 0
    if kind == "file":
        content, size = checksum(place)
    elif kind == "link":
        content, size = os.readlink(place), found.st_size
    elif kind in ("char", "block"):
        content = "{}:{}".format(os.major(found.st_rdev), os.minor(found.st_rdev))
    return [kind, "{:04o}".format(stat.S_IMODE(found.st_mode)), found.st_uid, found.st_gid, size, content]


def checksum(place: str) -> Tuple[str, int]:
    """Return the SHA-256 of a file, and how many bytes it has."""
    digest, size = hashlib.sha256(), 0
    with open(place, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def xattr_names(place: str) -> List[str]:
    """Return the names of an entry's extended attributes; none if its file system has none."""
    try:
        return os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return []
        raise


def main(root: str, archive: str) -> None:
    """Write the listing of a folder to an archive."""
    text = json.dumps(listing(root), separators=(",", ":")).encode("ascii")
    with gzip.open(archive, "wb", compresslevel=6) as file:
        file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
