# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images that must not be used any more, whatever they once passed. A document each, so that one list tells whether there is news."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .._core.errors import ConflictError, ImageError
from .._image_model import Image
from .._store.base import ABSENT, Store

PREFIX = "revoked/"
RETIRED = "retired"  # in a document: the image is being removed (see ``retirement``)


class Revocations:
    """One document an image, ``revoked/<hex>/<build>.json``. Asked again, it lists once and reads only what it has not read yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, Any]] = {}  # by key

    def all(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Who revoked which image (digest and build), when and why: ``at``, ``by``, ``reason``."""
        known = {}
        for key in self._store.list(PREFIX):
            found = (self._known[key], "") if key in self._known else self._store.read(key)
            if found:  # it may be taken back between the list and here
                known[key] = found[0]
        self._known = known
        return {(each["image"], each["build"]): _told(each) for each in known.values()}

    def reasons(self, build: str | None = None) -> dict[str, str]:
        """In words, by digest; of one build, or of any."""
        return {
            digest: in_words(each) for (digest, its_build), each in self.all().items() if build in (None, its_build)
        }

    def of(self, image: Image) -> dict[str, Any] | None:
        """As in ``all``, read anew; None where it may be used."""
        found = self._store.read(document_key(image))
        return _told(found[0]) if found else None

    def require_usable(self, image: Image) -> None:
        """Raises ImageError for a revoked image, with who, when and why."""
        revoked = self.of(image)
        if revoked:
            raise ImageError(f"{image.name} was {in_words(revoked)}; use another image", revoked=revoked)

    def revoke(self, image: Image, by: str, reason: str) -> bool:
        """Returns whether that changed anything: what is revoked stays as it was revoked first."""
        try:
            self._store.write(document_key(image), document_of(image, would_revoke(by, reason)), expect=ABSENT)
        except ConflictError:
            return False
        return True

    def restore(self, image: Image) -> bool:
        """Take it back. Returns whether that changed anything. Raises ImageError for an image that is being removed."""
        found = self._store.read(document_key(image))
        if found and RETIRED in found[0]:
            raise ImageError(
                f"{image.name} is being removed, so it cannot be used again; run immutable.infra.image_prune to its end, and bake it again"
            )
        if found:
            self._store.delete(document_key(image))
        return found is not None


def would_revoke(by: str, reason: str) -> dict[str, Any]:
    return {"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), "by": by, "reason": reason}


def document_of(image: Image, told: Mapping[str, Any]) -> dict[str, Any]:
    return {"image": image.digest, "build": image.build, "service": image.service, "name": image.name, **told}


def document_key(image: Image) -> str:
    return f"{PREFIX}{image.hex}/{image.build}.json"


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("at", "by", "reason")}


def in_words(revoked: Mapping[str, Any]) -> str:
    return f"revoked by {revoked['by']} at {revoked['at']}: {revoked['reason']}"
