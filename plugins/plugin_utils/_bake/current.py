# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image that a definition stands for, as the definition is now."""

from __future__ import annotations

from .._core.errors import ImageError
from .._definition.digest import bake_inputs, digest_of
from .._definition.model import Definition, Target
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._providers.registry import open_images
from .._store.base import Store
from .base_image import resolve_base


def current_image(definition: Definition, target: Target, store: Store) -> Image:
    """Return the image with the digest that the definition has now. Raises ImageError if it is not baked yet."""
    base = resolve_base(target.base, store, definition.folder, target.build_account)
    if base is None:
        raise ImageError(
            f"{definition.service} {definition.version} is not baked yet, and neither is its base; bake it first"
        )
    digest = digest_of(bake_inputs(definition, target, base))
    image = Catalogue(store).get(digest, open_images(target).build(base["architecture"]))
    if image is None:
        raise ImageError(
            f"{definition.service} {definition.version} as it is now ({digest[:19]}) is not baked yet; bake it first (immutable.infra.image)"
        )
    return image


def named_image(name: str | None, definition: Definition, target: str, store: Store) -> Image:
    """Return the image that the user names, or else the current one of the target. Raises ImageError."""
    if name:
        return Catalogue(store).find(name, definition.service)
    return current_image(definition, definition.target(target), store)
