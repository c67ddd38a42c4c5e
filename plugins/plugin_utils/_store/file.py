# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in a folder on this machine that only the calling user can access."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._core.documents import parse_json
from .._core.errors import ConflictError, LockedError, StoreError
from .._core.files import STORE_MARKER, make_private_folder, write_atomically
from .base import ABSENT, checked_key, decode_document, encode_document
from .keys import make_ssh_key
from .ownership import TrustedFolder

# Of the root; see docs/reference/store.md.
_FOLDERS = frozenset(
    ("artifacts", "bases", "cache", "channels", "container", "evidence", "fleets", "images", "keys", "known_hosts")
    + ("leases", "locks", "logs", "qemu", "revoked", "traffic", "volumes", "work")
)
_LOCK_POLL = 0.2  # seconds between two attempts to lock


class FileStore:
    """Implements ``_store.base.Store`` in a folder. A document's tag is the checksum of its bytes."""

    def __init__(self, root: Path) -> None:
        """Open the store in the folder ``root``, which is created if it is missing.

        Raises StoreError, also if other users can write to the folder.
        """
        self.root = root
        self.location = str(root)
        self._trusted = TrustedFolder(root)
        with _store_errors(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._trusted.check(root)
            _mark(root)

    def path(self, key: str) -> Path:
        """Return the path of ``key``, whether it exists or not. Raises StoreError if other users can write to it."""
        path = self.root / checked_key(key)
        with _store_errors(path):
            self._trusted.check(path)
        return path

    def trusted_tree(self, key: str) -> Path:
        """Return the path of a folder. Raises StoreError if other users can write to anything in it."""
        path = self.root / checked_key(key)
        with _store_errors(path):
            self._trusted.check_tree(path)
        return path

    def local_path(self, key: str) -> Path:
        path = self.path(key)
        with _store_errors(path):
            for child in path.iterdir() if path.is_dir() else ():
                self._trusted.check(child)
        return path

    def location_of(self, key: str) -> str:
        return str(self.root / checked_key(key))

    def read(self, key: str) -> tuple[Any, str] | None:
        data = self.read_blob(key)
        if data is None:
            return None
        return decode_document(data, self.location_of(key)), _tag(data)

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        data = encode_document(document)
        if expect is None:
            self.write_blob(key, data)
            return _tag(data)
        with self._short_lock("writes"):
            present = self.read_blob(key)
            if expect != (ABSENT if present is None else _tag(present)):
                raise ConflictError(f"{self.path(key)} was changed by another process since it was read")
            self.write_blob(key, data)
        return _tag(data)

    def read_blob(self, key: str) -> bytes | None:
        path = self.path(key)
        with _store_errors(path):
            try:
                with path.open("rb") as file:
                    self._trusted.check_status(path, os.fstat(file.fileno()))
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write_blob(self, key: str, data: bytes) -> None:
        path = self.path(key)
        with _store_errors(path):
            make_private_folder(path.parent)
            write_atomically(path, data)

    def list(self, prefix: str) -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        with _store_errors(folder):
            self._trusted.check(folder)
        found = (
            path.relative_to(self.root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self.path(key)
        with _store_errors(path):
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[tuple[int]]:
        """Hold a kernel lock. It is released once this process and all processes with its descriptor have ended."""
        path = self.path(f"locks/{name}.lock")
        with _store_errors(path):
            make_private_folder(path.parent)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + wait
            while not _try_lock(handle):
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"{name} is held by {_describe_holder(handle)}; wait for it or stop it, then run again",
                        lock=name,
                    )
                time.sleep(min(_LOCK_POLL, max(0.0, deadline - time.monotonic())))
            since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            holder = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "user": user_name(),
                "since": since,
                "purpose": purpose,
            }
            with _store_errors(path):  # these two calls do not name the file in their errors
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(holder).encode(), 0)
            yield (handle,)
        finally:
            os.close(handle)

    @contextmanager
    def _short_lock(self, name: str) -> Iterator[None]:
        with self.lock(name, "a conditional write", wait=30.0):
            yield

    def secret_key(self) -> bytes:
        with self._short_lock("secret-key"):
            present = self.read_blob("keys/secret")
            if present is None:
                present = secrets.token_bytes(32)
                self.write_blob("keys/secret", present)
        return present

    def ssh_key(self, name: str) -> tuple[Path, str]:
        private = self.path(f"keys/{name}")
        public = self.path(f"keys/{name}.pub")
        with self._short_lock(f"ssh-key-{name}"), _store_errors(private):
            if not public.exists():
                make_private_folder(private.parent)
                private.unlink(missing_ok=True)  # left by a run that was interrupted before it wrote the public half
                make_ssh_key(private, name)
            return private, public.read_text(encoding="ascii").strip()


def _mark(root: Path) -> None:
    """Mark the folder as a store, which is never an input of a bake, unless it has files of the user.

    A file such as ``.gitkeep`` does not matter, and old releases did not mark a store that the user had created.
    """
    names = {path.name for path in root.iterdir() if path.name == STORE_MARKER or not path.name.startswith(".")}
    if STORE_MARKER in names or names - _FOLDERS:
        return
    try:
        (root / STORE_MARKER).touch(mode=0o600)
    except OSError:
        if not names:
            raise  # an existing store can be read without being written


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"the store cannot use {error.filename or path}: {error.strerror}") from error


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_holder(handle: int) -> str:
    try:
        holder = parse_json(os.pread(handle, 4096, 0))
        process = f"process {holder['pid']} of {holder['user']} on {holder['host']}"
        return f"{process} since {holder['since']} ({holder['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def user_name() -> str:
    """Return the name of the user who runs this process, or the user's ID if the user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in some containers
        return str(os.getuid())
