# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Atomic writes, checksums, and the file that marks a store."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

# Every store has this file in its root, so that a store in a playbook's folder is not an input of the bake.
STORE_MARKER = ".immutable-store"
_CHUNK = 1024**2  # bytes
_SPECIAL = "it is a pipe, socket or device (allowed: a regular file)"


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write ``data`` to ``path`` through a temporary file in the same folder, with the permissions ``mode``.

    Raises OSError, which names ``path``, and leaves ``path`` unchanged if the write fails.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the system does not name the file if the disk is full
        raise


def remove_documented(folder: Path, document: str) -> bool:
    """Remove a folder with everything in it, if it has the file ``document`` and is no symbolic link.

    The document proves that the folder belongs to this project. It goes last, so that the next run finds what an
    interrupted removal left. Returns whether the folder had it. Raises OSError.
    """
    if folder.is_symlink() or not (folder / document).is_file():
        return False
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != document:
                path.unlink(missing_ok=True)
        (folder / document).unlink(missing_ok=True)
        folder.rmdir()
    except OSError as error:
        # Another run removes it, too, or has just created its lock in it.
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise
        shutil.rmtree(folder, ignore_errors=True)
    return True


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents for this user only, whatever the umask is. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in [*reversed(missing), folder]:
        each.mkdir(mode=0o700, exist_ok=True)


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes.

    Raises OSError, also for what is no regular file: a pipe, a socket or a device could block for ever or never end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    folder = stat.S_ISDIR(os.fstat(handle).st_mode)
    os.close(handle)
    if folder:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, _SPECIAL, str(path))


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a regular file's content. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
