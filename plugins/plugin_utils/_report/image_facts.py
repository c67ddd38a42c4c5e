# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect what a report shows of images: records, channels, and how the packages of images differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core.documents import parse_json
from .._core.errors import ImmutableError
from .._definition.model import Definition
from .._image_model import SBOM_FILE, Image
from .._images.catalogue import Catalogue, lineage
from .._images.channels import Channels
from .._store.base import Store
from .packages import compared, packages_of

MAX_COMPARED = 5  # images whose packages are compared
MAX_SBOM = 32 * 1024**2  # bytes
MAX_CHANGES = 400  # of the packages of one image


def images_of(definition: Definition, store: Store | None) -> tuple[list[Image], list[dict[str, Any]], str | None]:
    """The images and the channels of the service, or why they cannot be read."""
    if store is None:
        return [], [], None
    try:
        return Catalogue(store).list(definition.service), Channels(store).list(definition.service), None
    except ImmutableError as error:
        return [], [], error.message


def image_facts(image: Image, every: Sequence[Image]) -> dict[str, Any]:
    """The record without what is long, and with the name of the image before it."""
    previous = _previous(image, every)
    data = {name: value for name, value in image.as_dict().items() if name not in ("inputs", "artifact")}
    return {**data, "previous": previous.name if previous else None}


def _previous(image: Image, every: Sequence[Image]) -> Image | None:
    """The image before this one, with the same service and build."""
    digest = lineage(image, every)["previous"]
    return next((each for each in every if (each.digest, each.build) == (digest, image.build)), None)


def package_facts(store: Store, shown: Sequence[Image], every: Sequence[Image]) -> list[dict[str, Any]]:
    """How the packages of the newest images differ from those of the images before them."""
    known: dict[str, dict[tuple[str, str], str] | None] = {}

    def packages(image: Image) -> dict[tuple[str, str], str] | None:
        if image.key not in known:
            known[image.key] = _sbom(store, image)
        return known[image.key]

    found: list[dict[str, Any]] = []
    for image in shown:
        previous = _previous(image, every)
        if previous is None or len(found) == MAX_COMPARED:
            continue
        before, after = packages(previous), packages(image)
        if before is None or after is None:
            continue
        changes = compared(before, after)
        found.append(
            {
                "image": image.name,
                "previous": previous.name,
                "build": image.build,
                "count": len(after),
                "changes": changes[:MAX_CHANGES],
                "left_out": max(0, len(changes) - MAX_CHANGES),
            }
        )
    return found


def _sbom(store: Store, image: Image) -> dict[tuple[str, str], str] | None:
    """The packages of an image, or None if it has no SBOM that can be read."""
    try:
        data = store.read_blob(f"{image.key}/{SBOM_FILE}")
        return packages_of(parse_json(data)) if data is not None and len(data) <= MAX_SBOM else None
    except (ImmutableError, ValueError):
        return None
