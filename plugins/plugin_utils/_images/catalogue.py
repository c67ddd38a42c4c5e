# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images of a store, with the channels that point at each of them and whether it is revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict

from .._core.documents import mismatch
from .._core.errors import ImageError
from .._image_model import ACCOUNTS, RECORD_FILE, CloudKey, Image, amis_of, digest_hex, image_key
from .._store.base import Store, read_as
from .revocation import Revocations

_MIN_DIGITS = 6  # of a digest that identify an image


CHANNEL = "the document of a channel"


class _Ami(TypedDict):
    ami: str


class _Copy(_Ami, total=False):
    """What a region has of an AMI, in this account or in another one."""

    shared: bool
    roles: list[str]
    snapshots: list[str]


class _AmiArtifact(TypedDict, total=False):
    """See ``_image_model.amis_of``."""

    snapshots: list[str]
    copies: dict[str, _Copy]
    accounts: dict[str, dict[str, _Copy]]


class _SharedImage(TypedDict):
    """What another project has of an image in Glance."""

    glance: str
    shared: bool


class _GlanceArtifact(TypedDict, total=False):
    """See ``_image_model.glance_of``."""

    glance: str
    accounts: dict[str, dict[str, _SharedImage]]


_FORMS: Mapping[CloudKey, type] = {"glance": _GlanceArtifact, "ami": _AmiArtifact}  # of an image in a cloud


class ChannelEntry(TypedDict):
    """What must be in each entry of a channel's history."""

    image: str
    build: str
    name: str


class ChannelDocument(ChannelEntry):
    """What must be in the document of a channel."""

    service: str
    channel: str
    history: list[ChannelEntry]


class Catalogue:
    """Reads and writes the records of images. Methods raise StoreError if the store cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, image: Image) -> None:
        """Write the image's record. A bake does this last, because an image with a record is complete."""
        data = image.as_dict()
        del data["channels"], data["revoked"]  # they have their own documents
        self._store.write(f"{image.key}/{RECORD_FILE}", data)

    def record(self, digest: str, build: str) -> Image | None:
        """Return the image as its bake recorded it, without its channels and revocation, or None. Raises ImageError."""
        return self._read(f"{image_key(digest, build)}/{RECORD_FILE}")

    def get(self, digest: str, build: str) -> Image | None:
        """Return the image, or None. Raises ImageError for a record that cannot be read."""
        image = self.record(digest, build)
        return _with_state(self._store, [image])[0] if image else None

    def list(self, service: str | None = None) -> list[Image]:
        """Return the images of a service, or all images, newest first.

        Raises ImageError for a record that cannot be read.
        """
        found = [self._read(key) for key in self._store.list("images/") if key.endswith(f"/{RECORD_FILE}")]
        images = [image for image in found if image and service in (None, image.service)]
        return _with_state(
            self._store, sorted(images, key=lambda image: (image.created, image.digest, image.build), reverse=True)
        )

    def find(self, text: str, service: str | None = None) -> Image:
        """Return the image with this digest (at least six digits of it) or name.

        Raises ImageError if none or several match.
        """
        images = self.list(service)
        digits = digest_hex(text)
        matching = [
            image
            for image in images
            if text == image.name or (len(digits) >= _MIN_DIGITS and image.hex.startswith(digits))
        ]
        if len(matching) == 1:
            return matching[0]
        known = ", ".join(image.name for image in (matching or images)[:10]) or "none"
        what = "no image matches" if not matching else f"{len(matching)} images match"
        raise ImageError(
            f"{what} {text!r} (known: {known}); name one by its digest, {_MIN_DIGITS} digits of it or its name"
        )

    def mark_verified(self, image: Image, record: Mapping[str, Any]) -> Image:
        """Record that the image passed its verification, and return it."""
        verified = replace(image, verified=dict(record))
        self.add(verified)
        return verified

    def _read(self, key: str) -> Image | None:
        found = self._store.read(key)
        if found is None:
            return None
        problem = mismatch(found[0], Image) or _other_problem(found[0], key)
        if problem:
            raise ImageError(
                f"{self._store.location}: {key} is not the record of an image ({problem}); "
                "remove it and bake the image again"
            )
        return Image.from_dict(found[0])


def _other_problem(record: Mapping[str, Any], key: str) -> str:
    """What is wrong with a record that has the right types, or ""."""
    if f"{image_key(record['digest'], record['build'])}/{RECORD_FILE}" != key:
        return "digest and build are those of another image"
    try:
        datetime.fromisoformat(record["created"])
        amis_of(record["artifact"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return f"created or artifact: {error}"
    return _artifact_problem(record["artifact"])


def _artifact_problem(artifact: Mapping[str, Any]) -> str:
    """Only images in a cloud have entries of other accounts."""
    form = next((form for key, form in _FORMS.items() if key in artifact), None)
    if form:
        return mismatch(artifact, form, "artifact")
    return f"artifact: it has {ACCOUNTS}, but none of the keys {', '.join(_FORMS)}" if ACCOUNTS in artifact else ""


def lineage(image: Image, images: Sequence[Image]) -> dict[str, Any]:
    """Return the image's ``base``, and as ``previous`` the digest of the image before it, or None.

    The image before it is the next older one with the same service and build.

    Args:
        images: images to search, newest first.
    """
    earlier = [
        other.digest
        for other in images
        if (other.service, other.build) == (image.service, image.build) and other.created < image.created
    ]
    return {"base": dict(image.base), "previous": earlier[0] if earlier else None}


def _with_state(store: Store, images: Sequence[Image]) -> list[Image]:
    revoked = Revocations(store).all()
    return [replace(image, revoked=revoked.get((image.digest, image.build))) for image in _with_channels(store, images)]


def _with_channels(store: Store, images: Sequence[Image]) -> list[Image]:
    """Set the channels of each image. A channel refers to a service, digest and build."""
    channels: dict[tuple[str, str, str], list[str]] = {}
    for key in store.list("channels/"):
        found = read_as(store, key, ChannelDocument, CHANNEL)
        if found:
            document = found[0]
            channels.setdefault((document["service"], document["image"], document["build"]), []).append(
                document["channel"]
            )
    return [
        replace(image, channels=tuple(sorted(channels.get((image.service, image.digest, image.build), ()))))
        for image in images
    ]
