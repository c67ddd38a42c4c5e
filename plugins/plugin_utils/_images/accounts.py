# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images for targets in other accounts or projects than the one that bakes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._definition.model import Definition, Target
from .._image_model import ROLES, SHARED, Image, entry_of, with_entry
from .._providers.registry import launch_roles, open_shares
from .._store.base import Store
from .._store.keys import store_id
from .catalogue import Catalogue
from .copies import image_tags
from .image_targets import account_of, is_foreign, is_of_provider, region_of, shares_image


def recipients(image: Image, definition: Definition) -> list[Target]:
    """Return the targets in other accounts that use the image."""
    return [
        target
        for target in definition.targets.values()
        if target.image_from and shares_image(image, target) and is_foreign(image, target)
    ]


def missing_accounts(image: Image, definition: Definition) -> list[Target]:
    """Return the targets in other accounts that cannot launch the image yet. A revoked image is for none of them."""
    return [] if image.revoked else [target for target in recipients(image, definition) if not _has(image, target)]


def _has(image: Image, target: Target) -> bool:
    entry = _entry(image, target)
    if not entry.get(SHARED):
        return bool(entry)
    shares = target.image_from is not None and target.image_from.how == "share"
    return shares and set(launch_roles(target)) <= set(entry.get(ROLES, ()))


def _entry(image: Image, target: Target) -> Mapping[str, Any]:
    return entry_of(image.artifact, account_of(target), region_of(target))


def place_names(targets: Sequence[Target]) -> list[str]:
    """Return the accounts and regions of targets, for results and messages."""
    return sorted({f"{account_of(target)}/{region_of(target)}" for target in targets})


def require_shareable(image: Image, targets: Sequence[Target], store: Store) -> None:
    """Raise ProviderError if the image can never be used in the accounts of the targets."""
    for target in targets:
        open_shares(target, store).require_shareable(image.artifact)


def hand_over(image: Image, targets: Sequence[Target], store: Store) -> Image:
    """Let the accounts of the targets launch the image, record it, and return the image with the record.

    Raises ProviderError.
    """
    catalogue = Catalogue(store)
    tags = image_tags(image.digest, image.service, image.version, store_id(store))
    for target in targets:
        entry = open_shares(target, store).hand_over(image.artifact, tags)
        # The run of another target may have changed the record in the meantime.
        known = catalogue.get(image.digest, image.build) or image
        image = replace(known, artifact=with_entry(known.artifact, account_of(target), region_of(target), entry))
        catalogue.add(image)
    return image


def permit(image: Image, definition: Definition, store: Store, *, allowed: bool) -> list[str]:
    """Give back or take away the permissions of other accounts to launch the image.

    Returns the accounts and regions for which that changed something. Raises ProviderError.
    """
    sharing = [
        target
        for target in definition.targets.values()
        if target.image_from and is_of_provider(image, target) and _entry(image, target).get(SHARED)
    ]
    return place_names([target for target in sharing if open_shares(target, store).permit(image.artifact, allowed)])
