# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Channels: named pointers to verified images, with their history.

An image that is not verified or is revoked cannot be promoted. An image that was never promoted cannot be put in
service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .._core.errors import ConflictError, ImageError
from .._image_model import Image
from .._store.base import ABSENT, Store, read_as
from .catalogue import CHANNEL, Catalogue, ChannelDocument
from .revocation import Revocations, describe

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ATTEMPTS = 5  # of a conditional write that conflicts with another run


class Channels:
    """Reads and writes one document per channel, ``channels/<service>/<channel>.json``.

    The newest entry of ``history`` is last.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, service: str, channel: str) -> dict[str, Any] | None:
        """Return the channel's document, or None."""
        found = read_as(self._store, self._key(service, channel), ChannelDocument, CHANNEL)
        return found[0] if found else None

    def list(self, service: str | None = None) -> list[dict[str, Any]]:
        """Return all channels' documents, ordered by service and name."""
        prefix = f"channels/{service}/" if service else "channels/"
        documents = (read_as(self._store, key, ChannelDocument, CHANNEL) for key in self._store.list(prefix))
        return [found[0] for found in documents if found]

    def promote(
        self, service: str, channel: str, image: Image, *, by: str, note: str = ""
    ) -> tuple[bool, dict[str, Any]]:
        """Point the channel at ``image``. Returns whether the channel changed, and its document.

        Args:
            by: the user's name.

        Raises ImageError for an image that is not verified, is revoked or belongs to another service.
        """
        for _attempt in range(_ATTEMPTS):
            found = read_as(self._store, self._key(service, channel), ChannelDocument, CHANNEL)
            changed, document = self._promoted(
                service, channel, image, by=by, note=note, before=found[0] if found else None
            )
            if not changed:
                return False, document
            try:
                self._store.write(self._key(service, channel), document, expect=found[1] if found else ABSENT)
                return True, document
            except ConflictError:
                continue  # another run promoted in the meantime
        raise ConflictError(f"other runs keep changing channel {channel} of {service}; run again")

    def preview(
        self, service: str, channel: str, image: Image, *, by: str, note: str = ""
    ) -> tuple[bool, dict[str, Any]]:
        """Return what ``promote`` would return, without changing anything."""
        return self._promoted(service, channel, image, by=by, note=note, before=self.current(service, channel))

    def _promoted(
        self, service: str, channel: str, image: Image, *, by: str, note: str, before: dict[str, Any] | None
    ) -> tuple[bool, dict[str, Any]]:
        self._require_usable(image)
        if image.service != service:
            raise ImageError(
                f"{image.name} belongs to the service {image.service}, so it cannot be promoted for {service}"
            )
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
        """Return the channel's image, or an image of its history that is named by ``image``.

        Raises ImageError if there is none, or if it is unknown, not verified or revoked.
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
                f"channel {channel} of {service} points at {document['name']}, but its record is missing;"
                " promote another image"
            )
        self._require_usable(found)
        return found

    def require_current(self, service: str, channel: str) -> dict[str, Any]:
        """Return the channel's document. Raises ImageError if there is none."""
        document = self.current(service, channel)
        if document is None:
            known = ", ".join(known["channel"] for known in self.list(service))
            has = f"it has: {known}" if known else "nothing was promoted yet"
            raise ImageError(
                f"{service} has no channel {channel!r} ({has}); release the service, or promote a verified image first"
            )
        return document

    def rollback_image(
        self,
        service: str,
        channel: str,
        running: str,
        build: str | None = None,
        *,
        served: Mapping[str, bool] | None = None,
    ) -> Image:
        """Return the newest usable image that was promoted before the running one and was in service.

        Without such an image, it is the newest one that was never launched.

        Args:
            running: digest of the running image. If it was never promoted, it counts as newer than all others.
            build: of the image to return; None for any.
            served: by digest, whether a fleet ever ran the image completely; without those it never launched.

        Raises ImageError with the reason for each image that cannot be used.
        """
        document = self.current(service, channel)
        history = document["history"] if document else []
        last = max((index for index, entry in enumerate(history) if entry["image"] == running), default=len(history))
        earlier = {(entry["image"], entry["build"]): entry["name"] for entry in reversed(history[:last])}
        served, unusable = served or {}, []
        for digest, entry_build in sorted(earlier, key=lambda key: not served.get(key[0])):  # else the newest first
            name = earlier[digest, entry_build]
            if digest == running or build not in (None, entry_build):
                continue
            image = Catalogue(self._store).get(digest, entry_build)
            if image is None:
                unusable.append(f"{name}: its record is missing")
            elif image.revoked or not image.verified:
                unusable.append(f"{name}: {describe(image.revoked) if image.revoked else 'not verified'}")
            elif not served.get(digest, True):
                unusable.append(f"{name}: every swap to it failed")
            else:
                return image
        why = "; ".join(unusable) or "no other image was promoted before"
        raise ImageError(
            f"channel {channel} of {service} has no image to roll back to ({why}); promote one and swap to it"
        )

    def _require_usable(self, image: Image) -> None:
        Revocations(self._store).require_usable(image)
        if not image.verified:
            raise ImageError(f"{image.name} is not verified; boot and test it first (immutable.infra.image_verify)")

    def _key(self, service: str, channel: str) -> str:
        if not _NAME.fullmatch(channel):
            raise ImageError(f"{channel!r} is not a name for a channel (allowed: lower-case letters, digits, _ and -)")
        return f"channels/{service}/{channel}.json"
