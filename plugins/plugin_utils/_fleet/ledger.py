# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the store keeps about a fleet: the intent of its last swap, a record of each ended swap, and recipes.

A recipe says how to launch instances of a version again, without any secret. A rollback needs it once the old instances
are gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypedDict

from .._core.errors import ConflictError, LeaseLostError, StoreError
from .._core.units import iso
from .._store.base import ABSENT, Store, read_as
from .model import DONE, FAILED, OPEN, PRESENT, Intent, Version, VolumeSpec
from .ports import ChangePermit

REMEMBERED = 20  # how many swaps back a rollback searches
_LAUNCH = re.compile(r"[0-9a-f]{1,64}")
# The progress that a resumed swap takes over from the open intent.
PROGRESS = (
    "begun",
    "origin",
    "started",
    "stage",
    "reason",
    "culprit",
    "last_words",
    "serial",
    "first",
    "retries",
    "restarted",
    "passed",
    "reached",
    "flipped",
    "asks",
    "launches",
    "deaths",
)


class SwapRecord(TypedDict):
    """What must be in the record of an ended swap."""

    intent: Intent
    ended: str


class Recipe(TypedDict):
    """What instances are launched with, see ``recipes``."""

    image: str
    build: str
    size: int
    volumes: list[VolumeSpec]
    ports: list[int]
    authorized_keys: list[str]
    settings: dict[str, Any]
    secrets: dict[str, tuple[str, str]]
    machine: dict[str, Any]
    tags: dict[str, str]


class Failure(TypedDict):
    """The failed swap to an image."""

    image_name: str
    at: str  # when it ended, ISO 8601
    reason: str


class Ledger:
    """Reads and writes the documents of one fleet. Raises StoreError.

    ``permit`` is checked right before each write. A run that was frozen in between overwrites nothing: it writes the
    intent only if no other run wrote it in the meantime, and raises LeaseLostError otherwise.
    """

    def __init__(self, store: Store, fleet: str, permit: ChangePermit | None = None) -> None:
        self._store = store
        self._fleet = fleet
        self._permit = permit or ChangePermit()
        self._tag: str | None = None  # of the intent as last read or written; None before

    def last(self) -> Intent | None:
        """The intent of the last swap, open or ended."""
        key = self._key("intent.json")
        found = read_as(self._store, key, Intent, "the intent of a swap")
        self._tag = found[1] if found else ABSENT
        return _intent_of(found[0], self._store, key) if found else None

    def intent(self, requested: Intent, now: float) -> tuple[Intent, bool]:
        """The intent to follow, and whether an earlier run began it.

        An open swap with the same goal, image and launch is resumed. Otherwise the new request wins.
        """
        stored = self.last()
        if stored is None:
            return replace(requested, started=now, resumed=now), False
        if stored.status == OPEN and stored.same_goal(requested):
            return replace(requested, resumed=now, **{name: getattr(stored, name) for name in PROGRESS}), True
        serial = stored.serial + 1
        origin = last_good_version(stored)
        new = replace(requested, started=now, resumed=now, serial=serial, first=serial, origin=origin)
        return new, False

    def save(self, intent: Intent) -> None:
        """Raises AbandonedError, and LeaseLostError if another run wrote the intent in the meantime."""
        self._permit.check()
        try:
            self._tag = self._store.write(self._key("intent.json"), intent.as_dict(), expect=self._tag)
        except ConflictError as error:
            raise LeaseLostError(
                f"another run works on {self._fleet}, so this run changed nothing more; run again to resume"
            ) from error

    def close(self, intent: Intent, at: float, facts: Mapping[str, Any]) -> None:
        """Write the record of an ended swap, then the intent.

        If the run is interrupted between the two writes, the next run writes a record of its own.
        """
        stamp = iso(at).replace("-", "").replace(":", "")
        self._permit.check()
        record = {"intent": intent.as_dict(), "ended": iso(at), **facts}
        self._store.write(self._key(f"records/{stamp}-{intent.serial}.json"), record)
        self.save(intent)

    def records(self, most: int) -> list[dict[str, Any]]:
        """The newest ``most`` records, the newest first."""
        found = []
        for key in reversed(self._store.list(self._key("records/"))[-most:]):
            record = read_as(self._store, key, SwapRecord, "the record of a swap")
            if record:
                _intent_of(record[0]["intent"], self._store, key)
                found.append(record[0])
        return found

    def good_versions(self) -> Iterator[Version]:
        """Yield the versions that the fleet ran after successful swaps, newest first.

        The same image may occur more than once, with different settings.
        """
        last = self.last()
        if last:
            yield from filter(None, [last_good_version(last), last.origin])
        for record in self.records(REMEMBERED):
            yield from filter(None, [last_good_version(Intent.from_dict(record["intent"]))])

    def served(self) -> dict[str, bool]:
        """Return by digest whether the fleet ever ran an image completely. Images that it never launched are left out.

        Only the newest swaps count.
        """
        intents = [Intent.from_dict(record["intent"]) for record in self.records(REMEMBERED)]
        failed = [intent.image for intent in intents if intent.status == FAILED and intent.goal == PRESENT]
        return {**dict.fromkeys(failed, False), **{version.image: True for version in self.good_versions()}}

    def last_failure(self, image: str | None) -> Failure | None:
        """How the last swap failed, if it was to this image (a digest); otherwise None."""
        last = self.last()
        if last is None or last.status != FAILED or last.goal != PRESENT or last.image != image:
            return None
        newest = next(iter(self.records(1)), None)
        ended = newest["ended"] if newest and newest["intent"].get("serial") == last.serial else iso(last.started)
        return {"image_name": last.image_name or last.image, "at": str(ended), "reason": last.reason}

    def recipe(self, launch: str) -> Mapping[str, Any] | None:
        found = read_as(self._store, self._key(f"recipes/{launch}.json"), Recipe, "a recipe of a launch")
        return found[0] if found else None

    def authorities(self, launch: str) -> str:
        """Return the PEM text of the CAs in a recipe, or "". A host's tag says its launch, so it may be anything."""
        recipe = self.recipe(launch) if _LAUNCH.fullmatch(launch) else None
        return str((recipe or {}).get("authorities", ""))

    def keep_recipe(self, launch: str, recipe: Mapping[str, Any]) -> None:
        """Write the recipe of a launch fingerprint, unless it is empty or there already."""
        if recipe and self.recipe(launch) != recipe:
            self._permit.check()
            self._store.write(self._key(f"recipes/{launch}.json"), dict(recipe))

    def _key(self, name: str) -> str:
        return f"fleets/{self._fleet}/{name}"


def _intent_of(document: Mapping[str, Any], store: Store, key: str) -> Intent:
    """Return the intent in a document. Raises StoreError, which names the document, if there is none."""
    try:
        return Intent.from_dict(document)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{store.location_of(key)} is not the intent of a swap ({error}); restore an earlier version of it"
        ) from error


def last_good_version(stored: Intent | None) -> Version | None:
    """The version of the last successful swap. A failed or interrupted swap leaves the version before it."""
    if stored is None or stored.goal != PRESENT:
        return None
    return stored.target if stored.status == DONE else stored.origin
