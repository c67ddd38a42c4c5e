# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in a folder of this machine, for the calling user alone."""

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

from .._core.errors import ConflictError, LockedError, StoreError
from .._core.files import STORE_MARKER, write_atomically
from .base import ABSENT, as_bytes, checked
from .keys import make_ssh_key

_LOOK_AGAIN = 0.2  # seconds between two tries for a lock


class FileStore:
    """See ``store.base.Store``. A document's tag is the checksum of its bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)
        with _told(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not any(root.iterdir()):  # new, or of a run that was cut here
                (root / STORE_MARKER).touch(mode=0o600)

    def path(self, key: str) -> Path:
        """Where ``key`` is, or would be."""
        return self.root / checked(key)

    def local(self, key: str) -> Path:
        return self.path(key)

    def place(self, key: str) -> str:
        return str(self.path(key))

    def read(self, key: str) -> tuple[Any, str] | None:
        data = self.read_blob(key)
        if data is None:
            return None
        try:
            return json.loads(data), _tag(data)
        except ValueError as error:
            raise StoreError(f"{self.path(key)} is not JSON: {error}") from error

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        data = as_bytes(document)
        if expect is None:
            self.write_blob(key, data)
            return _tag(data)
        with self._briefly("writes"):
            present = self.read_blob(key)
            if expect != (ABSENT if present is None else _tag(present)):
                raise ConflictError(f"{self.path(key)} was changed by somebody else since it was read")
            self.write_blob(key, data)
        return _tag(data)

    def read_blob(self, key: str) -> bytes | None:
        path = self.path(key)
        with _told(path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write_blob(self, key: str, data: bytes) -> None:
        path = self.path(key)
        with _told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, data)

    def list(self, prefix: str) -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        found = (
            path.relative_to(self.root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self.path(key)
        with _told(path):
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[tuple[int]]:
        """The kernel lets go of it when the holder ends, however it ends, and all that it gave the descriptor to."""
        path = self.path(f"locks/{name}.lock")
        with _told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + wait
            while not _locked(handle):
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"{name} is held by {_holder(handle)}; wait for it or stop it, then run again", lock=name
                    )
                time.sleep(min(_LOOK_AGAIN, max(0.0, deadline - time.monotonic())))
            since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            holder = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "user": user_name(),
                "since": since,
                "purpose": purpose,
            }
            with _told(path):  # these two do not say which file it was
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(holder).encode(), 0)
            yield (handle,)
        finally:
            os.close(handle)

    @contextmanager
    def _briefly(self, name: str) -> Iterator[None]:
        with self.lock(name, "a conditional write", wait=30.0):
            yield

    def secret_key(self) -> bytes:
        """32 random bytes of this store, made once."""
        with self._briefly("secret-key"):
            present = self.read_blob("keys/secret")
            if present is None:
                present = secrets.token_bytes(32)
                self.write_blob("keys/secret", present)
        return present

    def ssh_key(self, name: str) -> tuple[Path, str]:
        """Private key's path and public key's line of a pair made once under ``name``. Raises StoreError without ssh-keygen."""
        private = self.path(f"keys/{name}")
        public = self.path(f"keys/{name}.pub")
        with self._briefly(f"ssh-key-{name}"), _told(private):
            if not public.exists():
                private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                private.unlink(missing_ok=True)  # of a run that was cut before the public half was there
                make_ssh_key(private, name)
            return private, public.read_text(encoding="ascii").strip()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """The system's own words, with the path they are about."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"the store cannot use {error.filename or path}: {error.strerror}") from error


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {holder['pid']} of {holder['user']} on {holder['host']} since {holder['since']} ({holder['purpose']})"
    except (ValueError, KeyError):
        return "another process"


def user_name() -> str:
    """Who works here, for records: the user's name, or the number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
