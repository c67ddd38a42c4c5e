# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the store keeps of a fleet: the intent of its last swap, a record of each that ended, and recipes of what was launched.

A recipe says how instances of a version are launched again, without any secret. A rollback needs it once the old instances are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._core.errors import ConflictError, LeaseLostError
from .._core.units import iso
from .._store.base import ABSENT, Store
from .model import DONE, OPEN, PRESENT, Intent, Version
from .ports import ChangePermit

KEPT = (
    "begun", "origin", "started", "stage", "reason", "culprit", "last_words", "serial", "first", "retries", "restarted", "passed", "reached", "flipped", "asks",
)  # fmt: skip  # how far it got: what a resumed swap takes over from the intent that was left open


class Ledger:
    """Raises StoreError.

    ``permit`` is checked right before each write. A run that was frozen between the two still overwrites nothing: the intent is written only where it is what was read or written here last; LeaseLostError where it is not.
    """

    def __init__(self, store: Store, fleet: str, permit: ChangePermit | None = None) -> None:
        self._store = store
        self._fleet = fleet
        self._permit = permit or ChangePermit()
        self._tag: str | None = None  # of the intent as it was read or written last; None before

    def last(self) -> Intent | None:
        """The intent of the last swap, open or ended."""
        found = self._store.read(self._key("intent.json"))
        self._tag = found[1] if found else ABSENT
        return Intent.from_dict(found[0]) if found else None

    def intent(self, asked: Intent, now: float) -> tuple[Intent, bool]:
        """The intent to follow, and whether an earlier run began it. Another image or goal than before: the new request wins."""
        stored = self.last()
        if stored is None:
            return replace(asked, started=now, resumed=now), False
        if stored.status == OPEN and stored.same_goal(asked):
            return replace(asked, resumed=now, **{name: getattr(stored, name) for name in KEPT}), True
        serial = stored.serial + 1
        return replace(
            asked, started=now, resumed=now, serial=serial, first=serial, origin=last_good_version(stored)
        ), False

    def save(self, intent: Intent) -> None:
        self._permit.check()
        try:
            self._tag = self._store.write(self._key("intent.json"), intent.as_dict(), expect=self._tag)
        except ConflictError as error:
            raise LeaseLostError(
                f"another run works on {self._fleet}, so nothing more was changed; run again to go on"
            ) from error

    def close(self, intent: Intent, at: float, told: Mapping[str, Any]) -> None:
        """The record first: a run that is cut between the two writes it again, under its own time."""
        stamp = iso(at).replace("-", "").replace(":", "")
        self._permit.check()
        self._store.write(
            self._key(f"records/{stamp}-{intent.serial}.json"), {"intent": intent.as_dict(), "ended": iso(at), **told}
        )
        self.save(intent)

    def records(self, most: int) -> list[dict[str, Any]]:
        """The newest ``most`` records, the newest first."""
        keys = self._store.list(self._key("records/"))[-most:]
        return [found[0] for found in map(self._store.read, reversed(keys)) if found]

    def recipe(self, launch: str) -> Mapping[str, Any] | None:
        found = self._store.read(self._key(f"recipes/{launch}.json"))
        return found[0] if found else None

    def keep_recipe(self, launch: str, recipe: Mapping[str, Any]) -> None:
        if recipe and self.recipe(launch) != recipe:
            self._permit.check()
            self._store.write(self._key(f"recipes/{launch}.json"), dict(recipe))

    def _key(self, name: str) -> str:
        return f"fleets/{self._fleet}/{name}"


def last_good_version(stored: Intent | None) -> Version | None:
    """What the fleet ran when all was well with it last: a swap that did not end well leaves what was before it."""
    if stored is None or stored.goal != PRESENT:
        return None
    return stored.target if stored.status == DONE else stored.origin
