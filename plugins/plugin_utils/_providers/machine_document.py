# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One machine of this host in one folder of the store: ``machine.json`` describes it.

It carries what changes while the machine lives. A machine that is being removed keeps its folder until its process has
ended.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypedDict

from .._core.documents import mismatch, parse_json
from .._core.files import make_private_folder, write_atomically
from .._core.locked import FOLDER, Locked
from .contract import FLEET, PENDING, RUNNING, STOPPED, STOPPING, Evidence, Instance
from .guest_network import LOOPBACK
from .root_state import REQUESTED, RootState

DOCUMENT = "machine.json"
LAUNCH = "launch.tar"  # the launch document of the guest
NEXT_LAUNCH = (
    "launch-next.tar"  # the same while a machine that is to boot from another image has not booted from it yet
)
_PORT = re.compile(r"[0-9]{1,5}")


class MachineFacts(TypedDict, total=False):
    """The types in ``machine.json`` that every provider has."""

    fleet: str
    slot: int
    image: str
    launch: str
    nonce: str
    purpose: str
    tags: dict[str, str]
    ports: list[str]
    endpoints: dict[str, int]
    created: float
    started: float
    stopping: float
    condemned: bool


class MachineDocument(ABC):
    """The machine in a folder. A provider says what its process is.

    Attributes:
        types: the types of the document's fields, a ``MachineFacts``.
        written_first: more files that a launch writes before the document.
    """

    types: ClassVar[type]
    written_first: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def fleet(self) -> str:
        return self.folder.parent.name

    @abstractmethod
    def pid(self) -> int | None:
        """The machine's process, or None if it does not run."""

    def facts(self) -> dict[str, Any] | None:
        """The contents of ``machine.json``, or None if there is no machine. They are empty if the file is damaged."""
        try:
            facts = parse_json((self.folder / DOCUMENT).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        damaged = mismatch(facts, self.types) or not all(map(_PORT.fullmatch, facts.get("endpoints", {})))
        return {} if damaged else dict(facts)

    def save(self, facts: Mapping[str, Any]) -> None:
        make_private_folder(self.folder)
        write_atomically(self.folder / DOCUMENT, json.dumps(facts, indent=1).encode())

    def update(self, **changes: Any) -> None:
        """Change some facts, safely while another run changes others. Has no effect if there is no machine."""
        try:
            lock = Locked(self.folder, FOLDER)
        except FileNotFoundError:
            return
        with lock:
            facts = self.facts()
            if facts is not None:
                tags = {**facts.get("tags", {}), **changes.pop("tags", {})}
                self.save(
                    {**facts, **changes, "tags": {name: value for name, value in tags.items() if value is not None}}
                )

    def unfinished(self) -> bool:
        """Whether it is a folder without a document, and with nothing but what a launch writes before that."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        own, partial = (LAUNCH, *self.written_first), (f".{LAUNCH}.", f".{DOCUMENT}.")
        begun = all(name in own or name.startswith(partial) for name in names)
        return begun and not self.folder.is_symlink()

    def removed(self) -> bool:
        """Whether it was removed, or has ended after a removal began: then only its folder is left."""
        facts = self.facts()
        return facts is None or (bool(facts.get("condemned")) and self.pid() is None)


def was_started(facts: Mapping[str, Any], running: bool) -> bool:
    """Whether it ever ran. A machine whose document is damaged counts as started: it may hold a volume."""
    return not facts or bool(facts.get("started")) or running


def instance_of(
    machine: MachineDocument,
    facts: Mapping[str, Any],
    evidence: Evidence | None,
    *,
    running: bool,
    present: bool | None = None,
) -> Instance:
    """The machine as an instance. One whose document is damaged belongs to no slot, so the next swap replaces it.

    Args:
        facts: its document.
        running: whether it has a process.
        present: whether it counts as running; None if that is the same.
    """
    stopping_since = facts.get("stopping", 0.0) if running else 0.0
    created = facts.get("created", 0.0)
    stopped = not (running if present is None else present)
    return Instance(
        id=machine.id,
        fleet=facts.get("fleet", machine.fleet),
        slot=facts.get("slot", -1),
        image=facts.get("image", ""),
        launch=facts.get("launch", ""),
        state=STOPPED if stopped else STOPPING if stopping_since else RUNNING if evidence else PENDING,
        purpose=facts.get("purpose", FLEET),
        created=created,
        nonce=facts.get("nonce", ""),
        endpoints={int(guest): (LOOPBACK, host) for guest, host in facts.get("endpoints", {}).items()},
        evidence=evidence,
        tags=facts.get("tags", {}),
        started=facts.get("started") or created,
        stopping_since=stopping_since,
        root=_root_of(facts, running),
    )


def _root_of(facts: Mapping[str, Any], running: bool) -> RootState:
    requested = facts.get("root_change") == REQUESTED and not running
    return RootState(facts.get("previous", {}).get("image", ""), REQUESTED if requested else "")
