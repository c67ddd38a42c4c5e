# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rooms know of a store: small documents with conditional writes, locks, keys, and a private place on this machine.

Keys are relative paths of letters, digits, ``.``, ``_``, ``-`` and ``/`` (``channels/shop/prod.json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from .._core.errors import StoreError

ABSENT = ""  # as ``expect``: the document must not exist yet

_KEY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class Store(Protocol):
    """Raises StoreError; ConflictError where ``expect`` does not hold."""

    location: str  # as the user named it

    def read(self, key: str) -> tuple[Any, str] | None:
        """The JSON document and its tag, or None."""

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        """Write a JSON document atomically and return its new tag. ``expect``: a tag from ``read``, ABSENT, or None for any."""

    def read_blob(self, key: str) -> bytes | None: ...

    def write_blob(self, key: str, data: bytes) -> None: ...

    def list(self, prefix: str) -> list[str]:
        """All keys below ``prefix``, sorted."""

    def delete(self, key: str) -> None: ...

    def place(self, key: str) -> str:
        """Where ``key`` is, or would be, in words for people: a path or a URL."""

    def local(self, key: str) -> Path:
        """A path of this machine, below a folder for the calling user alone, for what may be lost at any time: caches, logs, work, keys' files."""

    def lock(self, name: str, purpose: str, wait: float = 0.0) -> AbstractContextManager[Sequence[int]]:
        """One holder at a time; let go when the holder's process dies. LockedError says who holds it and since when.

        What it yields are descriptors that keep it for whoever has them open, also after this process; a store may have none.
        """

    def secret_key(self) -> bytes:
        """32 random bytes of this store, made once."""

    def ssh_key(self, name: str) -> tuple[Path, str]:
        """Private key's path and public key's line of a pair made once under ``name``. Raises StoreError without ssh-keygen."""


def as_bytes(document: Any) -> bytes:
    """How a document is written."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def checked(key: str) -> str:
    """The key, or StoreError where it is none."""
    if not _KEY.fullmatch(key) or any(part in (".", "..") for part in key.split("/")):
        raise StoreError(f"{key!r} is no key of a store (letters, digits and . _ - between slashes)")
    return key
