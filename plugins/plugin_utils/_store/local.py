# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A private folder on this machine for a store that is elsewhere."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from .._core.errors import StoreError

_FOLDER_NAME = "immutable.infra"


def local_folder(location: str) -> Path:
    """Return the folder of the store at ``location``, the same for each process of a user. Create it if it is missing.

    Raises StoreError if there is no place for it.
    """
    digest = hashlib.sha256(location.encode()).hexdigest()[:16]
    problem = ""
    temporary = (
        Path(tempfile.gettempdir()) / f"{_FOLDER_NAME}-{os.getuid()}-{digest}"
    )  # without a home, as in containers
    for folder in (_cache() / _FOLDER_NAME / digest, temporary):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _private(folder) and os.access(folder, os.W_OK | os.X_OK):
                return folder
            problem = f"{folder} is not a private folder of this user; delete it"
        except OSError as error:
            problem = f"{error.filename}: {error.strerror}"
    raise StoreError(
        f"the store {location} needs a folder on this machine for keys and logs: {problem} "
        "(set XDG_CACHE_HOME or TMPDIR to use another place)"
    )


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if given.startswith("/") else Path(os.path.expanduser("~")) / ".cache"


def _private(folder: Path) -> bool:
    """Whether only this user can access the folder. In a shared folder another user could have created it first."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
