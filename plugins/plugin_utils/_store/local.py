# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A private folder of this machine for a store that is elsewhere."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from .._core.errors import StoreError

NAME = "immutable.infra"


def local_folder(location: str) -> Path:
    """The folder of the store at ``location``, the same for each process of this user. Made where it is missing. Raises StoreError."""
    digest = hashlib.sha256(location.encode()).hexdigest()[:16]
    refused = ""
    for folder in (
        _cache() / NAME / digest,
        Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}-{digest}",
    ):  # a container's user may have no home
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _private(folder) and os.access(folder, os.W_OK | os.X_OK):
                return folder
            refused = f"{folder} is not yours alone; remove it"
        except OSError as error:
            refused = f"{error.filename}: {error.strerror}"
    raise StoreError(
        f"the store {location} needs a folder of this machine for keys and logs: {refused} (XDG_CACHE_HOME and TMPDIR say where)"
    )


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if given.startswith("/") else Path(os.path.expanduser("~")) / ".cache"


def _private(folder: Path) -> bool:
    """In a folder that all may write to, somebody could have been there first."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
