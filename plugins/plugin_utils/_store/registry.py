# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Open the store at the location that a user wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .._core.errors import StoreError
from .._core.files import STORE_MARKER
from .base import Store
from .file import FileStore
from .s3_location import SCHEME, S3Location, parse_location

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def resolve_location(folder: Path, option: str) -> str:
    """Return the location that a user wrote as the store, with a relative path resolved against ``folder``."""
    return option if _SCHEME.match(option) else str(folder / Path(option).expanduser())


def open_store(location: str | Path) -> Store:
    """Open the store in a bucket or in a folder. A missing folder is created. Raises StoreError if it is neither."""
    return _bucket_store(location) or FileStore(_folder_path(location))


def find_store(location: str | Path) -> Store | None:
    """Open the store like ``open_store``, but return None if its folder does not exist."""
    bucket = _bucket_store(location)
    if bucket:
        return bucket
    folder = _folder_path(location)
    return FileStore(folder) if folder.exists() else None


def folder_store(store: Store, reason: str) -> FileStore:
    """Return the store if it is in a folder.

    Raises StoreError for any other store. ``reason`` starts the message, such as "the provider qemu keeps disks in it".
    """
    if isinstance(store, FileStore):
        return store
    raise StoreError(f"{reason}, so it needs a store in a folder (this one is {store.location})")


def folder_of(store: Store) -> Path | None:
    """Return the folder of a store, or None if it is elsewhere."""
    return store.root if isinstance(store, FileStore) else None


def bucket_of(store: Store) -> S3Location | None:
    """Return the bucket of a store with its prefix and its account, or None if it is elsewhere."""
    return parse_location(store.location) if _is_bucket(store.location) else None


def check_apart(store: Store, folders: Iterable[Path]) -> None:
    """Raise StoreError if a store would be among the inputs of a bake, which are in ``folders``.

    A marked store in one of their subfolders is left out of the inputs.
    """
    root = folder_of(store)
    if root is None:
        return
    for folder in folders:
        place, inside = Path(os.path.realpath(root)), Path(os.path.realpath(folder))
        if place == inside or (place.is_relative_to(inside) and not os.path.lexists(root / STORE_MARKER)):
            raise StoreError(
                f"the store {root} is among the inputs of the bake, which are in {folder}: it must be a folder of its "
                "own, without other files; name another one with 'store'"
            )


def _bucket_store(location: str | Path) -> Store | None:
    if not _is_bucket(location):
        return None
    from .s3 import S3Store

    return S3Store(str(location))


def _is_bucket(location: str | Path) -> bool:
    return str(location).startswith(f"{SCHEME}://")


def _folder_path(location: str | Path) -> Path:
    if _SCHEME.match(str(location)):
        raise StoreError(f"{location} is not a supported store (allowed: the path of a folder, s3://bucket/prefix)")
    return Path(location).expanduser().absolute()
