# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says that a definition differs from what its channel has, so a swap alone does not bring it to the fleet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._definition.model import Definition
from .model import FAILED

_DIGITS = 12  # of the digest, at the end of the name of an image


def unreleased(
    definition: Definition,
    channel: str,
    image_name: str | None,
    *,
    image: str | None = None,
    digest: str | None = None,
    swap: Mapping[str, Any] | None = None,
) -> str | None:
    """Return how the definition differs from the channel's image, and what to do; None if it does not.

    Args:
        image_name: of the channel's image: service, version and the start of the digest; None if it has none.
        image: digest of the channel's image.
        digest: of the definition's current inputs, if it is known. Otherwise only versions are compared.
        swap: the last one, as ``fleet_info`` returns it. A version that failed is not recommended again.
    """
    if not image_name:
        return None
    released = _version(definition, image_name)
    if released != definition.version:
        if swap and swap["status"] == FAILED and _version(definition, swap["image_name"] or "") == definition.version:
            return f"the definition says {definition.version}, which failed: fix the cause and release a new version"
        return f"the definition says {definition.version}, the channel {channel} has {released}: release the definition"
    if digest and image and digest != image:
        other = f"the definition has other inputs than {image_name}, which the channel {channel} has"
        return f"{other}: release the definition"
    return None


def _version(definition: Definition, image_name: str) -> str:
    return image_name.removeprefix(f"{definition.service}-")[: -_DIGITS - 1]
