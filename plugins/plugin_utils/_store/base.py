# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The protocol of a store: small documents with conditional writes, locks, keys, and a private folder on this machine.

Keys are relative paths of letters, digits, ``.``, ``_``, ``-`` and ``/``, such as ``channels/shop/prod.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from .._core.documents import mismatch, parse_json
from .._core.errors import StoreError

MAX_DOCUMENT = 64 * 1024**2  # bytes
ABSENT = ""  # as ``expect``: the document must not exist

_KEY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class Store(Protocol):
    """A store. Every method raises StoreError if the store fails or the key is not valid."""

    location: str  # as the user wrote it

    def read(self, key: str) -> tuple[Any, str] | None:
        """Return the JSON document and its tag, or None if there is none."""

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        """Write a JSON document atomically and return its new tag.

        Args:
            expect: the tag that the present document must have, ABSENT, or None to write in any case.

        Raises ConflictError if the present document is another one.
        """

    def read_blob(self, key: str) -> bytes | None:
        """Return the bytes at ``key``, or None if there are none."""

    def write_blob(self, key: str, data: bytes) -> None:
        """Write bytes atomically."""

    def list(self, prefix: str) -> list[str]:
        """Return all keys that start with ``prefix``, sorted."""

    def delete(self, key: str) -> None:
        """Delete a document or blob. A missing one is not an error."""

    def location_of(self, key: str) -> str:
        """Return the path or URL of ``key`` for messages and results, whether it exists or not."""

    def local_path(self, key: str) -> Path:
        """Return a path below a private folder of this user on this machine.

        It is for files that can be lost at any time: caches, logs, working folders and key files.
        """

    def lock(self, name: str, purpose: str, wait: float = 0.0) -> AbstractContextManager[Sequence[int]]:
        """Hold the lock ``name``, which has one holder at a time and is released when its process dies.

        Yields file descriptors. The lock stays held as long as a process has one of them open, even after this process
        ends. Some stores yield none.

        Args:
            purpose: what the holder does, for messages to other processes.
            wait: maximum seconds to wait for the lock.

        Raises LockedError, which names the holder.
        """

    def secret_key(self) -> bytes:
        """Return the store's 32 random bytes, which are generated once."""

    def ssh_key(self, name: str) -> tuple[Path, str]:
        """Return the private key's path and the public key's line of the pair ``name``, which is generated once.

        Raises StoreError if ssh-keygen is missing or fails.
        """


def encode_document(document: Any) -> bytes:
    """Return the bytes that a store keeps for a JSON document."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def decode_document(data: bytes, location: str) -> Any:
    """Return the JSON document in ``data``. Raises StoreError, which names ``location``, if it is not JSON."""
    if len(data) > MAX_DOCUMENT:
        raise StoreError(
            f"{location} has {len(data)} bytes, which is too much for a document (allowed: {MAX_DOCUMENT})"
        )
    try:
        return parse_json(data)
    except ValueError as error:
        raise StoreError(f"{location} is not JSON: {error}; restore an earlier version of it") from error


def read_as(store: Store, key: str, shape: Any, what: str) -> tuple[Any, str] | None:
    """Read a document and check its types. See ``Store.read``.

    Args:
        shape: see ``_core.documents.mismatch``.
        what: what the document must be, such as "the intent of a swap".

    Raises StoreError, which names the document, if it is something else.
    """
    found = store.read(key)
    problem = mismatch(found[0], shape) if found else ""
    if problem:
        raise StoreError(f"{store.location_of(key)} is not {what} ({problem}); restore an earlier version of it")
    return found


def checked_key(key: str) -> str:
    """Return ``key``. Raises StoreError if it is not a valid key."""
    if not _KEY.fullmatch(key) or any(part in (".", "..") for part in key.split("/")):
        raise StoreError(f"{key!r} is not a valid store key (allowed: letters, digits and . _ -, separated by slashes)")
    return key
