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
    """A folder's path. Raises StoreError for what is not one."""
    scheme = _SCHEME.search(str(location))
    if scheme:
        raise StoreError(f"{location} is not a store that is known here: {scheme[1]} is not supported (allowed: the path of a folder)")
    return FileStore(Path(location).expanduser().absolute())
