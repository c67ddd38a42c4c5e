# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images that are being removed: none may be used any more from the first step on, and whoever comes after a killed run finds it.

The mark is the image's revocation, which channels and swaps heed already, also swaps under way. Where a person had revoked the image,
that word stays when the image is gone: baked again from the same inputs it would be the same image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._core.errors import ConflictError
from .._image_model import Image
from .._store.base import ABSENT, Store
from .catalogue import RECORD
from .prune import Key
from .revocation import PREFIX, RETIRED, document_key, document_of, would_revoke


class Retirements:
    """The mark holds when the image was baked (``created``), since one that was baked anew meanwhile is not meant, and whether a person had
    revoked it before (``revoked``). Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begun(self) -> set[Key]:
        return {
            (document["image"], document["build"])
            for document, record in self._marked()
            if record and _meant(document, record)
        }

    def left(self) -> set[Key]:
        """Marked ones that are gone, or were baked anew."""
        return {
            (document["image"], document["build"])
            for document, record in self._marked()
            if not record or not _meant(document, record)
        }

    def is_begun(self, image: Image) -> bool:
        found = self._store.read(document_key(image))
        return found is not None and RETIRED in found[0] and _meant(found[0], image.as_dict())

    def begin(self, image: Image, by: str) -> None:
        """Raises ConflictError where somebody else says something of it at the same moment."""
        found = self._store.read(document_key(image))
        if found and RETIRED in found[0]:
            return
        document = (
            found[0]
            if found
            else document_of(image, would_revoke(by, "it is being removed (immutable.infra.image_prune)"))
        )
        mark = {"created": image.created, "revoked": found is not None}
        self._store.write(document_key(image), {**document, RETIRED: mark}, expect=found[1] if found else ABSENT)

    def end(self, digest: str, build: str) -> None:
        """The image is gone, or it stays after all: what a person said of it is said again, and nothing else."""
        key = f"{PREFIX}{digest.removeprefix('sha256:')}/{build}.json"
        found = self._store.read(key)
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
            return  # another run ended it

    def _marked(self) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Each marked document, with the record of its image where there is one."""
        for key in self._store.list(PREFIX):
            found = self._store.read(key)
            if found and RETIRED in found[0]:
                digits = found[0]["image"].removeprefix("sha256:")
                record = self._store.read(f"images/{digits}/{found[0]['build']}/{RECORD}")
                yield found[0], record[0] if record else None


def _meant(document: dict[str, Any], record: dict[str, Any]) -> bool:
    return bool(document[RETIRED]["created"] == record["created"])
