# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find a store by how the user names it."""
from __future__ import annotations

from pathlib import Path

from ..errors import StoreError
from .file import FileStore


def open_store(location: str | Path) -> FileStore:
    """A folder's path. Raises StoreError for what is not one."""
    if "://" in str(location):
        raise StoreError(f"{location} is not a store that is known here (allowed: the path of a folder)")
    return FileStore(Path(location).expanduser().absolute())
