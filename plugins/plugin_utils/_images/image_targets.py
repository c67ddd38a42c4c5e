# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which targets use an image, and the account and region of each."""

from __future__ import annotations

from .._definition.model import Target
from .._image_model import Image, owner_of
from .._providers.registry import artifact_key, open_account, open_build_account, open_images


def account_of(target: Target) -> str:
    """Return the ID of the target's account or project. Raises ProviderError."""
    return open_account(target).account_id


def region_of(target: Target) -> str:
    """Return the region of a target. Raises ProviderError if none is configured."""
    return open_account(target).region


def is_of_provider(image: Image, target: Target) -> bool:
    """Return whether the image belongs to an account or project of the target's provider."""
    key = artifact_key(target)
    return key is not None and bool(image.artifact.get(key))


def shares_image(image: Image, target: Target) -> bool:
    """Return whether the target uses this image of an account or project.

    It does if its images are baked in the same region, account and architecture, on the same base.
    """
    if not is_of_provider(image, target) or target.base.source != image.base["source"]:
        return False
    if open_build_account(target).region != image.artifact.get("region"):
        return False  # not every provider's builds contain the region
    return open_images(target).build(image.artifact["architecture"]) == image.build


def is_foreign(image: Image, target: Target) -> bool:
    """Return whether the target is in another account than the image."""
    return target.image_from is not None and account_of(target) != owner_of(image.artifact)
