# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images of a store: found by digest, by a part of it or by name, each with the channels that point at it, and whether it was revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._core.errors import ImageError
from .._image_model import Image
from .._store.base import Store
from .revocation import Revocations

RECORD = "record.json"
_SHORTEST = 6  # digits of a digest that may stand for it


class Catalogue:
    """Raises StoreError where the store cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, image: Image) -> None:
        """Make the image known. Called last in a bake: what has a record is whole."""
        data = image.as_dict()
        del data["channels"], data["revoked"]  # they are told by documents of their own
        self._store.write(f"{image.key}/{RECORD}", data)

    def get(self, digest: str, build: str) -> Image | None:
        image = self._read(f"images/{digest.removeprefix('sha256:')}/{build}/{RECORD}")
        return _completed(self._store, [image])[0] if image else None

    def list(self, service: str | None = None) -> list[Image]:
        """The newest first."""
        found = [self._read(key) for key in self._store.list("images/") if key.endswith(f"/{RECORD}")]
        images = [image for image in found if image and service in (None, image.service)]
        return _completed(
            self._store, sorted(images, key=lambda image: (image.created, image.digest, image.build), reverse=True)
        )

    def find(self, text: str, service: str | None = None) -> Image:
        """By digest, by at least six digits of one, or by name. Raises ImageError where none or several fit."""
        images = self.list(service)
        digits = text.removeprefix("sha256:")
        fitting = [
            image
            for image in images
            if text == image.name or (len(digits) >= _SHORTEST and image.hex.startswith(digits))
        ]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(image.name for image in (fitting or images)[:10]) or "none"
        what = "no image" if not fitting else f"{len(fitting)} images"
        raise ImageError(
            f"{what} fit {text!r} (known: {known}); name one by its digest, {_SHORTEST} digits of it or its name"
        )

    def mark_verified(self, image: Image, record: Mapping[str, Any]) -> Image:
        """Note what the image passed."""
        verified = replace(image, verified=dict(record))
        self.add(verified)
        return verified

    def _read(self, key: str) -> Image | None:
        found = self._store.read(key)
        if found is None:
            return None
        try:
            return Image.from_dict(found[0])
        except (TypeError, AttributeError):
            raise ImageError(
                f"{self._store.location}: {key} is not the record of an image; remove it and bake again"
            ) from None


def lineage(image: Image, images: Sequence[Image]) -> dict[str, Any]:
    """What ``image`` was baked on (``base``), and the digest of the image of its service and build before it (``previous``), or None.

    ``images``: those to look among, newest first.
    """
    earlier = [
        each.digest
        for each in images
        if (each.service, each.build) == (image.service, image.build) and each.created < image.created
    ]
    return {"base": dict(image.base), "previous": earlier[0] if earlier else None}


def _completed(store: Store, images: Sequence[Image]) -> list[Image]:
    revoked = Revocations(store).all()
    return [replace(image, revoked=revoked.get((image.digest, image.build))) for image in _with_channels(store, images)]


def _with_channels(store: Store, images: Sequence[Image]) -> list[Image]:
    """An image is told from its other builds, and from another service's of the same digest."""
    pointed: dict[tuple[str, str, str], list[str]] = {}
    for key in store.list("channels/"):
        found = store.read(key)
        if found:
            document = found[0]
            pointed.setdefault((document["service"], document["image"], document["build"]), []).append(
                document["channel"]
            )
    return [
        replace(image, channels=tuple(sorted(pointed.get((image.service, image.digest, image.build), ()))))
        for image in images
    ]
