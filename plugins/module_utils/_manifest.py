# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the manifest of an image and the comparison of a host with it have in common."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zlib
from typing import Any, Dict, Literal

SCHEMA = 1
MAX_BYTES = 512 * 1024 * 1024  # of a manifest that is not compressed; a million files have half of it
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


# Names that are compared. Anything else is no attribute that the kernel or a tool of a distribution uses. "system.data"
# is how ext4 shows the content of a small file.
_ATTRIBUTE = re.compile(r"(?!system\.data$)(?:security|system|trusted|user)\.[A-Za-z0-9_.@:+-]{1,200}")
_ACL_VERSION = 2
_NAMED_USER, _NAMED_GROUP = 0x02, 0x08  # the entries of an access control list that have an id
_SHOWN = 64  # bytes; a longer value is recorded as a checksum


def load_manifest(data: bytes) -> Any:
    """Return the JSON in a manifest compressed with gzip. Raises ValueError if it is damaged or too large."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = stream.decompress(data, MAX_BYTES)
        if stream.unconsumed_tail:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        if not stream.eof or stream.unused_data:
            raise ValueError("it is incomplete, or something follows it")
        return json.loads(text.decode("ascii"))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_compared(name: str) -> bool:
    """Return whether the extended attribute with this name is in a manifest and is compared."""
    return _ATTRIBUTE.fullmatch(name) is not None


def attribute_text(name: str, value: bytes) -> str:
    """Return the value of an extended attribute as manifests contain it: hexadecimal, or a checksum if it is long.

    Kernels and tools return some values differently: labels with or without a final zero byte, and any id in entries
    of an access control list that have none.
    """
    if name.startswith("system.posix_acl_"):
        value = _normal_acl(value)
    elif name == "security.selinux":
        value = value.rstrip(b"\0")
    return value.hex() if len(value) <= _SHOWN else "sha256:" + hashlib.sha256(value).hexdigest()


def _normal_acl(value: bytes) -> bytes:
    if len(value) % 8 != 4 or struct.unpack_from("<I", value)[0] != _ACL_VERSION:
        return value
    entries = [
        (tag, permissions, number if tag in (_NAMED_USER, _NAMED_GROUP) else 0)
        for tag, permissions, number in struct.iter_unpack("<HHI", value[4:])
    ]
    return value[:4] + b"".join(struct.pack("<HHI", *entry) for entry in entries)
