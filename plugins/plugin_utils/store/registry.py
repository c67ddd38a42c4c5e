# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find a store by how the user names it."""
from __future__ import annotations

import re
from pathlib import Path

from ..errors import StoreError
from .file import FileStore

# Also behind a folder and with one slash, since options are joined to the playbook's folder before they come here.
_SCHEME = re.compile(r"(?:^|/)([A-Za-z][A-Za-z0-9+.-]*):/")


def open_store(location: str | Path) -> FileStore:
    """The store in a folder, which is made where it is missing. Raises StoreError for what is no folder's path."""
    return FileStore(_folder(location))


def find_store(location: str | Path) -> FileStore | None:
    """The store in a folder, or None where there is no such folder. Raises StoreError for what is no folder's path."""
    folder = _folder(location)
    return FileStore(folder) if folder.exists() else None


def _folder(location: str | Path) -> Path:
    scheme = _SCHEME.search(str(location))
    if scheme:
        raise StoreError(f"{location} is not a store that is known here: {scheme[1]} is not supported (allowed: the path of a folder)")
    return Path(location).expanduser().absolute()
