# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Revocations of images. A revoked image must not be used, even if it is verified.

There is one document per image, so a listing shows whether anything changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypedDict

from .._core.errors import ConflictError, ImageError
from .._image_model import Image
from .._store.base import ABSENT, Store, read_as

PREFIX = "revoked/"
RETIRED = "retired"  # key of a document: the image is being removed (see ``retirement``)


class Revocations:
    """Reads and writes ``revoked/<hex>/<build>.json``. Further calls list once and read only new documents."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, Any]] = {}  # by key

    def all(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the revocations (``at``, ``by``, ``reason``) by digest and build."""
        known = {}
        for key in self._store.list(PREFIX):
            found = (self._known[key], "") if key in self._known else read_revocation(self._store, key)
            if found:  # it may have been restored after the listing
                known[key] = found[0]
        self._known = known
        return {(document["image"], document["build"]): _summary(document) for document in known.values()}

    def reasons(self, build: str | None = None) -> dict[str, str]:
        """Return the revocations of one build, or of all, as text by digest."""
        return {
            digest: describe(revoked)
            for (digest, revoked_build), revoked in self.all().items()
            if build in (None, revoked_build)
        }

    def of(self, image: Image) -> dict[str, Any] | None:
        """Read the image's revocation from the store, as in ``all``. Returns None if it is not revoked."""
        found = read_revocation(self._store, document_key(image))
        return _summary(found[0]) if found else None

    def require_usable(self, image: Image) -> None:
        """Raise ImageError with the revocation if the image is revoked."""
        revoked = self.of(image)
        if revoked:
            raise ImageError(f"{image.name} was {describe(revoked)}; use another image", revoked=revoked)

    def revoke(self, image: Image, by: str, reason: str) -> bool:
        """Revoke the image. Returns False if it is revoked already; the first revocation remains."""
        try:
            self._store.write(document_key(image), document_of(image, revocation_of(by, reason)), expect=ABSENT)
        except ConflictError:
            return False
        return True

    def restore(self, image: Image) -> bool:
        """Remove the revocation. Returns whether there was one. Raises ImageError if the image is being removed."""
        found = read_revocation(self._store, document_key(image))
        if found and RETIRED in found[0]:
            raise ImageError(
                f"{image.name} is being removed, so it cannot be used again;"
                " let immutable.infra.image_prune finish, and bake the image again"
            )
        if found:
            self._store.delete(document_key(image))
        return found is not None


class Mark(TypedDict):
    """See ``retirement``."""

    created: str
    revoked: bool


class Revocation(TypedDict):
    """What must be in the document of a revocation."""

    image: str
    build: str
    at: str
    by: str
    reason: str


class MarkedRevocation(Revocation, total=False):
    """The same, while the image is being removed."""

    retired: Mark


def read_revocation(store: Store, key: str) -> tuple[Any, str] | None:
    """Read the document of a revocation. See ``read_as``."""
    return read_as(store, key, MarkedRevocation, "the revocation of an image")


def revocation_of(by: str, reason: str) -> dict[str, Any]:
    """Return a revocation that is made now."""
    return {"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), "by": by, "reason": reason}


def document_of(image: Image, revoked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a revocation."""
    return {"image": image.digest, "build": image.build, "service": image.service, "name": image.name, **revoked}


def document_key(image: Image) -> str:
    """Return the key of the image's revocation in the store."""
    return f"{PREFIX}{image.hex}/{image.build}.json"


def _summary(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("at", "by", "reason")}


def describe(revoked: Mapping[str, Any]) -> str:
    """Return a revocation as text."""
    return f"revoked by {revoked['by']} at {revoked['at']}: {revoked['reason']}"
