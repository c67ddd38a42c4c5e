# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the manifest of an image and the comparison of a host with it have in common."""

from __future__ import annotations

import stat
from typing import Dict, Literal

SCHEMA = 1
EntryType = Literal["file", "dir", "link", "char", "block", "fifo", "socket", "unknown"]
_TYPES: Dict[int, EntryType] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def entry_type(mode: int) -> EntryType:
    """Return the type of a file system entry with this mode, as ``stat`` returns it."""
    return _TYPES.get(stat.S_IFMT(mode), "unknown")
