# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write a page, unless the file has the same content already."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from .._core.errors import ImmutableError
from .._core.files import open_regular, write_atomically
from .page import same_content

MAX_MODE = 0o777


def mode_of(option: Any) -> int:
    """Return the permissions that a user wrote, such as ``"0640"`` or ``0640``. Raises ImmutableError."""
    try:
        if isinstance(option, bool):
            raise ValueError
        mode = option if isinstance(option, int) else int(str(option), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= MAX_MODE:
        raise ImmutableError(f'mode: {option!r} are no permissions (allowed: octal digits in quotes, such as "0640")')
    return mode


def write_page(path: Path, page: bytes, mode: int, *, check: bool) -> bool:
    """Write the page and return whether anything changed. ``check``: change nothing.

    Raises ImmutableError for a path that cannot have the page, and OSError.
    """
    if path.is_dir():
        raise ImmutableError(f"dest: {path} is a folder; name the file to write in it, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise ImmutableError(f"dest: the folder {path.parent} does not exist; create it first")
    before = _present(path, len(page))
    if before is not None and same_content(before, page):
        if stat.S_IMODE(path.stat().st_mode) == mode:
            return False
        if not check:
            os.chmod(path, mode)
        return True
    if not check:
        write_atomically(path, page, mode)
    return True


def _present(path: Path, size: int) -> bytes | None:
    """The first bytes of the file, one more than ``size``, or None if there is no file."""
    try:
        with open_regular(path) as file:
            return file.read(size + 1)
    except FileNotFoundError:
        return None
