# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find a store by how the user names it."""

from __future__ import annotations

import re
from pathlib import Path

from .._core.errors import StoreError
from .base import Store
from .file import FileStore

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def store_location(folder: Path, option: str) -> str:
    """What a user wrote as the store, with a relative path taken from ``folder``."""
    return option if _SCHEME.match(option) else str(folder / Path(option).expanduser())


def open_store(location: str | Path) -> Store:
    """The store in a bucket, or in a folder, which is made where it is missing. Raises StoreError for what is neither."""
    return _in_bucket(location) or FileStore(_folder(location))


def find_store(location: str | Path) -> Store | None:
    """The same, but None where there is no such folder."""
    bucket = _in_bucket(location)
    if bucket:
        return bucket
    folder = _folder(location)
    return FileStore(folder) if folder.exists() else None


def folder_store(store: Store, why: str) -> FileStore:
    """The store, for what needs a folder that lasts. Raises StoreError for another one, beginning with ``why``."""
    if isinstance(store, FileStore):
        return store
    raise StoreError(f"{why}, so it needs a store in a folder (this one is {store.location})")


def _in_bucket(location: str | Path) -> Store | None:
    if not str(location).startswith("s3://"):
        return None
    from .s3 import S3Store

    return S3Store(str(location))


def _folder(location: str | Path) -> Path:
    if _SCHEME.match(str(location)):
        raise StoreError(
            f"{location} is not a store that is known here (allowed: the path of a folder, s3://bucket/prefix)"
        )
    return Path(location).expanduser().absolute()
