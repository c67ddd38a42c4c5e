# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images of a store: found by digest, by a part of it or by name, each with the channels that point at it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ImageError
from ..store.base import Store
from .model import Image

RECORD = "record.json"
_SHORTEST = 6  # digits of a digest that may stand for it


class Catalogue:
    """Raises StoreError where the store cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, image: Image) -> None:
        """Make the image known. Called last in a bake: what has a record is whole."""
        data = image.as_dict()
        del data["channels"]  # they are told by the channels' own documents
        self._store.write(f"{image.key}/{RECORD}", data)

    def get(self, digest: str, build: str) -> Image | None:
        found = self._store.read(f"images/{digest.removeprefix('sha256:')}/{build}/{RECORD}")
        return replace(Image.from_dict(found[0]), channels=self._channels().get(digest, ())) if found else None

    def list(self, service: str | None = None) -> list[Image]:
        """The newest first."""
        channels = self._channels()
        found = [self._store.read(key) for key in self._store.list("images/") if key.endswith(f"/{RECORD}")]
        images = [Image.from_dict(document) for document, _tag in filter(None, found)]
        chosen = [replace(image, channels=channels.get(image.digest, ())) for image in images if service in (None, image.service)]
        return sorted(chosen, key=lambda image: (image.created, image.digest), reverse=True)

    def find(self, text: str, service: str | None = None) -> Image:
        """By digest, by at least six digits of one, or by name. Raises ImageError where none or several fit."""
        images = self.list(service)
        digits = text.removeprefix("sha256:")
        fitting = [image for image in images if text == image.name or (len(digits) >= _SHORTEST and image.hex.startswith(digits))]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(image.name for image in (fitting or images)[:10]) or "none"
        what = "no image" if not fitting else f"{len(fitting)} images"
        raise ImageError(f"{what} fit {text!r} (known: {known}); name one by its digest, {_SHORTEST} digits of it or its name")

    def mark_verified(self, image: Image, record: Mapping[str, Any]) -> Image:
        """Note what the image passed."""
        verified = replace(image, verified=dict(record))
        self.add(verified)
        return verified

    def _channels(self) -> dict[str, tuple[str, ...]]:
        pointed: dict[str, tuple[str, ...]] = {}
        for key in self._store.list("channels/"):
            found = self._store.read(key)
            if found:
                digest, name = found[0]["image"], key.rpartition("/")[2].removesuffix(".json")
                pointed[digest] = (*pointed.get(digest, ()), name)
        return pointed
