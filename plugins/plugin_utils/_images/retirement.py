# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Marks images that are being removed. A marked image cannot be used, and the next run finds the marks of a killed one.

The mark is a revocation, which channels and swaps respect, including swaps in progress. If a user had revoked the
image, that revocation remains after the removal, because a bake from the same inputs makes the same image again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._core.errors import ConflictError
from .._image_model import RECORD_FILE, Image, digest_hex, image_key
from .._store.base import ABSENT, Store, read_as
from .prune import ImageKey
from .revocation import PREFIX, RETIRED, document_key, document_of, read_revocation, revocation_of


class Retirements:
    """Reads and writes the marks. Methods raise StoreError.

    A mark contains the image's ``created``, because it does not apply to an image that was baked again in the meantime,
    and whether a user had revoked the image before (``revoked``).
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def pending(self) -> set[ImageKey]:
        """Return the marked images that still have a record."""
        return {
            (document["image"], document["build"])
            for document, record in self._marked()
            if record and _applies(document, record)
        }

    def stale(self) -> set[ImageKey]:
        """Return the marked images that are removed or were baked again."""
        return {
            (document["image"], document["build"])
            for document, record in self._marked()
            if not record or not _applies(document, record)
        }

    def is_pending(self, image: Image) -> bool:
        """Return whether the image is marked."""
        found = read_revocation(self._store, document_key(image))
        return found is not None and RETIRED in found[0] and _applies(found[0], image.as_dict())

    def begin(self, image: Image, by: str) -> None:
        """Mark the image, unless it is marked.

        Raises ConflictError if another run changes its revocation at the same time.
        """
        found = read_revocation(self._store, document_key(image))
        if found and RETIRED in found[0]:
            return
        document = (
            found[0]
            if found
            else document_of(image, revocation_of(by, "it is being removed (immutable.infra.image_prune)"))
        )
        mark = {"created": image.created, "revoked": found is not None}
        self._store.write(document_key(image), {**document, RETIRED: mark}, expect=found[1] if found else ABSENT)

    def end(self, digest: str, build: str) -> None:
        """Remove the mark, because the image is removed or kept after all. Keeps the revocation of a user."""
        key = f"{PREFIX}{digest_hex(digest)}/{build}.json"
        found = read_revocation(self._store, key)
        if found is None or RETIRED not in found[0]:
            return
        if not found[0][RETIRED]["revoked"]:
            self._store.delete(key)
            return
        try:
            self._store.write(
                key, {name: value for name, value in found[0].items() if name != RETIRED}, expect=found[1]
            )
        except ConflictError:
            return  # another run removed the mark

    def _marked(self) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Each marked document, with the record of its image or None."""
        for key in self._store.list(PREFIX):
            found = read_revocation(self._store, key)
            if found and RETIRED in found[0]:
                record = read_as(
                    self._store,
                    f"{image_key(found[0]['image'], found[0]['build'])}/{RECORD_FILE}",
                    Image,
                    "the record of an image",
                )
                yield found[0], record[0] if record else None


def _applies(document: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether the mark is for the image with this record, not for an earlier bake of it."""
    return bool(document[RETIRED]["created"] == record["created"])
