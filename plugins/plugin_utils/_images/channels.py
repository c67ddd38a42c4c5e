# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Named pointers to verified images, with their history: what is not verified or was revoked cannot be promoted, what is not promoted cannot be used."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from .._core.errors import ConflictError, ImageError
from .._image_model import Image
from .._store.base import ABSENT, Store
from .catalogue import Catalogue
from .revocation import Revocations, in_words

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_TRIES = 5  # of a conditional write that somebody else came before


class Channels:
    """One document a channel, ``channels/<service>/<channel>.json``, with the newest entry of ``history`` last."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, service: str, channel: str) -> dict[str, Any] | None:
        """The channel's document, or None."""
        found = self._store.read(self._key(service, channel))
        return found[0] if found else None

    def list(self, service: str | None = None) -> list[dict[str, Any]]:
        """All channels' documents, by service and name."""
        prefix = f"channels/{service}/" if service else "channels/"
        return [found[0] for found in map(self._store.read, self._store.list(prefix)) if found]

    def promote(self, service: str, channel: str, image: Image, by: str, note: str = "") -> tuple[bool, dict[str, Any]]:
        """Point the channel at ``image``. Returns whether that changed anything, and the channel's document.

        Raises ImageError for an image that is not verified, was revoked or is not of this service.
        """
        for _attempt in range(_TRIES):
            found = self._store.read(self._key(service, channel))
            changed, document = self._promoted(service, channel, image, by, note, found[0] if found else None)
            if not changed:
                return False, document
            try:
                self._store.write(self._key(service, channel), document, expect=found[1] if found else ABSENT)
                return True, document
            except ConflictError:
                continue  # somebody promoted in the meantime: look again
        raise ConflictError(f"channel {channel} of {service} is being changed by others all the time; run again")

    def would_promote(
        self, service: str, channel: str, image: Image, by: str, note: str = ""
    ) -> tuple[bool, dict[str, Any]]:
        """What ``promote`` would return, without changing anything."""
        return self._promoted(service, channel, image, by, note, self.current(service, channel))

    def _promoted(
        self, service: str, channel: str, image: Image, by: str, note: str, before: dict[str, Any] | None
    ) -> tuple[bool, dict[str, Any]]:
        self._require_good(image)
        if image.service != service:
            raise ImageError(f"{image.name} is an image of {image.service}, so it cannot be promoted for {service}")
        if before and before["image"] == image.digest and before["build"] == image.build:
            return False, before
        entry = {
            "image": image.digest,
            "build": image.build,
            "name": image.name,
            "version": image.version,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "by": by,
            "note": note,
        }
        history = before["history"] if before else []
        return True, {"service": service, "channel": channel, **entry, "history": [*history, entry]}

    def require_promoted(self, service: str, channel: str, image: str | None = None) -> Image:
        """The image that may be swapped in: the channel's, or one of its history named by ``image``.

        Raises ImageError where there is none, or where it is unknown, not verified or revoked.
        """
        document = self.require_current(service, channel)
        catalogue = Catalogue(self._store)
        digest, build = document["image"], document["build"]
        if image is not None:
            chosen = catalogue.find(image, service)
            entries = {(entry["image"], entry["build"]) for entry in document["history"]}
            if (chosen.digest, chosen.build) not in entries:
                raise ImageError(f"{chosen.name} was never promoted to {channel} of {service}; promote it first")
            digest, build = chosen.digest, chosen.build
        found = catalogue.get(digest, build)
        if found is None:
            raise ImageError(
                f"channel {channel} of {service} points at {document['name']}, whose record is gone; promote another image"
            )
        self._require_good(found)
        return found

    def require_current(self, service: str, channel: str) -> dict[str, Any]:
        """The channel's document. Raises ImageError where there is none."""
        document = self.current(service, channel)
        if document is None:
            known = ", ".join(each["channel"] for each in self.list(service)) or "none"
            raise ImageError(
                f"{service} has no channel {channel!r} (it has: {known}); promote a verified image to it first"
            )
        return document

    def rollback_image(self, service: str, channel: str, running: str, build: str | None = None) -> Image:
        """The newest image that was promoted before the one that runs (a digest) and may still be used; of ``build``, where one is named.

        What runs and was never promoted counts as newer than all. Raises ImageError, saying why each was passed over.
        """
        document = self.current(service, channel)
        history = document["history"] if document else []
        last = max((place for place, entry in enumerate(history) if entry["image"] == running), default=len(history))
        earlier = {(entry["image"], entry["build"]): entry["name"] for entry in reversed(history[:last])}
        passed_over = []
        for digest, its_build in earlier:
            name = earlier[digest, its_build]
            if digest == running or build not in (None, its_build):
                continue
            image = Catalogue(self._store).get(digest, its_build)
            if image is None:
                passed_over.append(f"{name}: its record is gone")
            elif image.revoked or not image.verified:
                passed_over.append(f"{name}: {in_words(image.revoked) if image.revoked else 'not verified'}")
            else:
                return image
        why = "; ".join(passed_over) or "nothing else was promoted before"
        raise ImageError(
            f"channel {channel} of {service} has no image to go back to ({why}); promote one and swap to it"
        )

    def _require_good(self, image: Image) -> None:
        Revocations(self._store).require_usable(image)
        if not image.verified:
            raise ImageError(f"{image.name} is not verified; boot and test it first (immutable.infra.image_verify)")

    def _key(self, service: str, channel: str) -> str:
        if not _NAME.fullmatch(channel):
            raise ImageError(f"{channel!r} is no name of a channel (allowed: lower-case letters, digits, _ and -)")
        return f"channels/{service}/{channel}.json"
