# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A folder in memory for what must not reach a disk of the controller: the bake's SSH key and its secrets."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._core.errors import BakeError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  only private folders are created in it


@contextmanager
def private_memory(name: str, fallback: Path) -> Iterator[Path]:
    """Create a folder that only this user can read, and remove it at the end.

    The same ``name`` and ``fallback`` give the same path, so the next run removes what a killed run left behind. The
    caller holds a lock on ``name``. Without shared memory the folder is below ``fallback``. Raises BakeError if the
    folder cannot be created.
    """
    folder = private_path(name, fallback)
    try:
        remove_folder(folder)
        folder.mkdir(mode=0o700)  # fails if another user has created it
    except OSError as error:
        raise BakeError(f"cannot create the private folder {folder}: {error.strerror}") from error
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_private_memory(name: str, fallback: Path) -> None:
    """Remove what a killed run left behind under this name. Raises OSError."""
    remove_folder(private_path(name, fallback))


def private_path(name: str, fallback: Path) -> Path:
    """Return the path of the folder that ``private_memory`` creates."""
    unique = hashlib.sha256(f"{fallback.resolve()}:{os.getuid()}".encode()).hexdigest()[:12]
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else fallback
    return parent / f"immutable-{unique}-{name}"


def write_private(path: Path, data: bytes) -> None:
    """Create a file that only this user can read, even before it is complete. Raises OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def remove_folder(folder: Path) -> None:
    """Remove a folder, or do nothing if it does not exist. Raises OSError."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
