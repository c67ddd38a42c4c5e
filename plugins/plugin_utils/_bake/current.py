# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the image of a definition with its current inputs."""

from __future__ import annotations

from .._core.errors import ImageError, ImmutableError
from .._definition.digest import bake_inputs, digest_of
from .._definition.model import Definition, Target
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._providers.registry import open_images
from .._store.base import Store
from .builders.registry import base_asks_cloud, resolve_base


def current_image(definition: Definition, target: Target, store: Store) -> Image:
    """Return the image that was baked from the definition's current inputs. Raises ImageError if there is none."""
    base = resolve_base(target, store, definition.folder)
    if base is None:
        raise ImageError(
            f"{definition.service} {definition.version} is not baked yet, and its base is not built yet;"
            " bake it first (immutable.infra.image)"
        )
    digest = digest_of(bake_inputs(definition, target, base))
    image = Catalogue(store).get(digest, open_images(target).build(base["architecture"]))
    if image is None:
        raise ImageError(
            f"{definition.service} {definition.version} is not baked yet with its current inputs ({digest[:19]});"
            " bake it first (immutable.infra.image)"
        )
    return image


def current_digest(definition: Definition, target: Target, store: Store, *, ask_cloud: bool = True) -> str | None:
    """Return the digest of the definition's current inputs, or None if they cannot be read, such as an unknown base.

    Args:
        ask_cloud: if False, also None if a cloud would have to be asked for the base.
    """
    if not ask_cloud and base_asks_cloud(target):
        return None
    try:
        base = resolve_base(target, store, definition.folder)
        return digest_of(bake_inputs(definition, target, base)) if base else None
    except ImmutableError:
        return None


def named_image(name: str | None, definition: Definition, target: str, store: Store) -> Image:
    """Return the image that the user names, or else the current one of the target. Raises ImageError."""
    if name:
        return Catalogue(store).find(name, definition.service)
    return current_image(definition, definition.target(target), store)
