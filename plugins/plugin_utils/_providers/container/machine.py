# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One container in one folder of the store: ``machine.json`` describes it, its launch document and log are next to it.

An engine cannot change what a container was created with, so everything that changes is in the document.
"""

from __future__ import annotations

import re
from typing import Any

from ..._core.errors import ProviderError
from ..._core.files import remove_documented
from ..._core.locked import LOCK_FILE, Locked
from ..._core.processes import process_start
from ..machine_document import DOCUMENT, MachineDocument, MachineFacts
from .command import LAUNCH_FOLDER, PID_FILE

LOCK = "start.lock"
_BOOT = re.compile(r"(?:[0-9]{1,10}@[0-9]{1,20})?")


class _Facts(MachineFacts, total=False):
    """The types in ``machine.json``."""

    artifact: dict[str, Any]
    settings: dict[str, Any]
    machine: dict[str, Any]
    waiting: bool  # for its volumes: created, but not started
    given_up: str  # why it ended without having run
    boot: str  # the first process of the container and when it started, "" if there is none


class MachineFolder(MachineDocument):
    """The machine in a folder. Raises ProviderError."""

    types = _Facts
    written_first = (LAUNCH_FOLDER, LOCK)

    def facts(self) -> dict[str, Any] | None:
        facts = super().facts()
        return {} if facts and not _BOOT.fullmatch(facts.get("boot", "")) else facts

    def starting(self) -> Locked:
        """Hold the lock under which its container is created, started and removed: two runs may launch one token."""
        try:
            return Locked(self.folder / LOCK, LOCK_FILE)
        except FileNotFoundError:
            raise ProviderError(f"there is no machine {self.id}") from None

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
