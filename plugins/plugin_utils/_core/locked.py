# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock that one process of this machine holds, and the others wait for. It ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

FOLDER = os.O_RDONLY | os.O_DIRECTORY
FILE = os.O_RDONLY
LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # has no other content


class Locked:
    """Holds the lock of a file or folder until the end of the context.

    Args:
        how: ``FOLDER`` or ``FILE`` for what exists, ``LOCK_FILE`` for a file that is created if it is missing.

    Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Path, how: int) -> None:
        self._handle = os.open(path, how | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> None:
        """It is held already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
