# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in memory, for predictions and tests. Processes do not share it, so its lock is only a flag."""

from __future__ import annotations

import copy
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from .._core.errors import ConflictError, LockedError
from .base import ABSENT, checked_key
from .keys import make_ssh_key


class MemoryStore:
    """Implements ``_store.base.Store`` in memory."""

    def __init__(self) -> None:
        self.location = "memory"
        self._documents: dict[str, tuple[Any, str]] = {}
        self._blobs: dict[str, bytes] = {}
        self._locks: dict[str, str] = {}
        self._writes = 0

    def read(self, key: str) -> tuple[Any, str] | None:
        return copy.deepcopy(self._documents.get(key))

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        if expect is not None and expect != self._documents.get(key, (None, ABSENT))[1]:
            raise ConflictError(f"{key} was changed by another process since it was read")
        self._writes += 1
        self._documents[key] = (copy.deepcopy(document), str(self._writes))
        return str(self._writes)

    def read_blob(self, key: str) -> bytes | None:
        return self._blobs.get(key)

    def write_blob(self, key: str, data: bytes) -> None:
        self._blobs[key] = data

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in (*self._documents, *self._blobs) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._documents.pop(key, None)
        self._blobs.pop(key, None)

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="immutable-memory-")  # deleted with this store

    def location_of(self, key: str) -> str:
        return f"{self.location}:{key}"

    def local_path(self, key: str) -> Path:
        return Path(self._folder.name) / checked_key(key)

    def secret_key(self) -> bytes:
        return self._blobs.setdefault("keys/secret", secrets.token_bytes(32))

    def ssh_key(self, name: str) -> tuple[Path, str]:
        private = self.local_path(f"keys/{name}")
        if not private.exists():
            private.parent.mkdir(mode=0o700, exist_ok=True)
            make_ssh_key(private, name)
        return private, private.with_name(f"{name}.pub").read_text(encoding="ascii").strip()

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[tuple[()]]:  # noqa: ARG002  no other process could release it
        if name in self._locks:
            raise LockedError(f"{name} is locked: {self._locks[name]}")
        self._locks[name] = purpose
        try:
            yield ()
        finally:
            del self._locks[name]
