# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rooms know of a store: small documents with conditional writes, and locks.

Keys are relative paths of letters, digits, ``.``, ``_``, ``-`` and ``/`` (``channels/shop/prod.json``).
"""
from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

ABSENT = ""  # as ``expect``: the document must not exist yet


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

    def lock(self, name: str, purpose: str, wait: float = 0.0) -> AbstractContextManager[object]:
        """One holder at a time; let go when the holder's process dies. LockedError says who holds it and since when."""
