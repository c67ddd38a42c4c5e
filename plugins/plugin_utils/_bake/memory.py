# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A folder in memory for what must not reach a disk of the controller: the bake's one-time key and its secrets."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._core.errors import BakeError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a folder for this user alone is made in it


@contextmanager
def private_memory(name: str, fallback: Path) -> Iterator[Path]:
    """A new folder for this user alone, gone afterwards.

    The same ``name`` and ``fallback`` give the same path, so what a killed run left is cleared by the next one. The caller holds a
    lock on ``name``. Where there is no shared memory it lies in ``fallback``. Raises BakeError where it cannot be made.
    """
    folder = _place(name, fallback)
    try:
        clear(folder)
        folder.mkdir(mode=0o700)  # fails where somebody else has put something there
    except OSError as error:
        raise BakeError(f"no private folder can be made at {folder}: {error.strerror}") from error
    try:
        yield folder
    finally:
        clear(folder)


def clear_memory(name: str, fallback: Path) -> None:
    """Remove what a killed run left under this name. Raises OSError."""
    clear(_place(name, fallback))


def _place(name: str, fallback: Path) -> Path:
    unique = hashlib.sha256(f"{fallback.resolve()}:{os.getuid()}".encode()).hexdigest()[:12]
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else fallback
    return parent / f"immutable-{unique}-{name}"


def write_private(path: Path, data: bytes) -> None:
    """A new file that only this user can read, from its first byte on."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def clear(folder: Path) -> None:
    """Remove a folder that may not be there. Raises OSError."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
