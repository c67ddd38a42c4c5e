# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One container in one folder of the store: ``machine.json`` describes it, its launch document and log are next to it.

An engine cannot change what a container was created with, so everything that changes is in the document.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from ..._core.documents import mismatch, parse_json
from ..._core.errors import ProviderError
from ..._core.files import make_private_folder, remove_documented, write_atomically
from ..._core.processes import process_start
from .command import LAUNCH, LAUNCH_FOLDER, PID_FILE

DOCUMENT = "machine.json"
LOCK = "start.lock"
_PORT = re.compile(r"[0-9]{1,5}")
_BOOT = re.compile(r"(?:[0-9]{1,10}@[0-9]{1,20})?")


class _Facts(TypedDict, total=False):
    """The types in ``machine.json``."""

    fleet: str
    slot: int
    image: str
    launch: str
    nonce: str
    purpose: str
    tags: dict[str, str]
    artifact: dict[str, Any]
    ports: list[str]
    endpoints: dict[str, int]
    settings: dict[str, Any]
    machine: dict[str, Any]
    created: float
    started: float
    stopping: float
    condemned: bool
    waiting: bool  # for its volumes: created, but not started
    given_up: str  # why it ended without having run
    boot: str  # the first process of the container and when it started, "" if there is none


class MachineFolder:
    """The machine in a folder. Raises ProviderError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def fleet(self) -> str:
        return self.folder.parent.name

    def facts(self) -> dict[str, Any] | None:
        """The contents of ``machine.json``, or None if there is no machine. They are empty if the file is damaged."""
        try:
            facts = parse_json((self.folder / DOCUMENT).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        damaged = mismatch(facts, _Facts) or not all(map(_PORT.fullmatch, facts.get("endpoints", {})))
        return {} if damaged or not _BOOT.fullmatch(facts.get("boot", "")) else dict(facts)

    def save(self, facts: Mapping[str, Any]) -> None:
        make_private_folder(self.folder)
        write_atomically(self.folder / DOCUMENT, json.dumps(facts, indent=1).encode())

    def update(self, **changes: Any) -> None:
        """Change some facts, safely while another run changes others. Has no effect if there is no machine."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            facts = self.facts()
            if facts is not None:
                tags = {**facts.get("tags", {}), **changes.pop("tags", {})}
                self.save(
                    {**facts, **changes, "tags": {name: value for name, value in tags.items() if value is not None}}
                )
        finally:
            os.close(folder)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hold the lock under which its container is created, started and removed: two runs may launch one token."""
        try:
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise ProviderError(f"there is no machine {self.id}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def unfinished(self) -> bool:
        """Whether it is a folder without a document, and with nothing but what a launch writes before that."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        own = (LAUNCH, LAUNCH_FOLDER, LOCK)
        begun = all(name in own or name.startswith((f".{LAUNCH}.", f".{DOCUMENT}.")) for name in names)
        return begun and not self.folder.is_symlink()

    def removed(self) -> bool:
        """Whether it was removed, or has ended after a removal began: then only its folder is left."""
        facts = self.facts()
        return facts is None or (bool(facts.get("condemned")) and self.pid() is None)

    def boot(self) -> str | None:
        """The identity of its present boot: its first process and when that started. None if it does not run."""
        facts = self.facts() or {}
        known: str = facts.get("boot", "")
        pid, _at, start = known.partition("@")
        if known:
            return known if process_start(int(pid)) == start else None
        # A run that was killed while it started the container could not record it.
        try:
            pid = (self.folder / PID_FILE).read_text(encoding="ascii").strip()
            started = process_start(int(pid))
        except (OSError, ValueError):
            return None
        return f"{pid}@{started}" if started else None

    def pid(self) -> int | None:
        """The first process of its running container."""
        boot = self.boot()
        return int(boot.partition("@")[0]) if boot else None

    def remove(self) -> None:
        """Remove the folder of a container that is removed. ``machine.json`` goes last."""
        remove_documented(self.folder, DOCUMENT)
