# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The AMIs of one image: copies for the regions of other targets, and publishing a channel's AMI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .._aws.tags import key_of
from .._core.errors import ImageError
from .._definition.model import Definition, Target
from .._image_model import Image, amis_of, artifact_in, bake_name
from .._providers import tags
from .._providers.registry import open_images
from .catalogue import Catalogue
from .image_targets import account_of, is_foreign, region_of, shares_image

NO_TARGET = "no target of the definition uses it"


def missing_copies(image: Image, definition: Definition) -> dict[str, str]:
    """Return the regions where the definition's targets need a copy of the image, with the key of each copy."""
    present = amis_of(image.artifact)
    if not present:
        return {}
    sharing = {
        region_of(target): target.build.kms_key
        for target in sorted(definition.targets.values(), key=lambda target: target.image_from is None)
        if shares_image(image, target) and not _copies_itself(image, target)
    }
    return {region: key for region, key in sharing.items() if region not in present}


def _copies_itself(image: Image, target: Target) -> bool:
    """Whether the target's account gets a copy of its own."""
    return target.image_from is not None and target.image_from.how == "copy" and is_foreign(image, target)


def copy_image(
    image: Image, target: Target, regions: Mapping[str, str], *, store_id: str, catalogue: Catalogue
) -> Image:
    """Copy the image to the regions, record the copies, and return the image with them.

    Args:
        regions: see ``missing_copies``.
        store_id: the store's identity.

    Raises ProviderError.
    """
    if not regions:
        return image
    wanted_tags = image_tags(image.digest, image.service, image.version, store_id)
    copies = open_images(target).copy(image.artifact, regions, wanted_tags)["copies"]
    # The run of another target may have changed the record in the meantime.
    known = catalogue.get(image.digest, image.build) or image
    updated = replace(known, artifact={**known.artifact, "copies": {**known.artifact.get("copies", {}), **copies}})
    catalogue.add(updated)
    return updated


def publish_channel(
    image: Image, definition: Definition, target: str | None, channel: str, *, check: bool
) -> Mapping[str, str]:
    """Publish the channel's image for other tools; see ``Images.publish``.

    Returns {} if the provider has no place for it.

    Args:
        target: the target whose account publishes it; None for the first one that uses the image.
        check: only return what would change.
    """
    if not amis_of(image.artifact):
        return {}
    sharing = (
        [definition.target(target)]
        if target
        else [candidate for candidate in definition.targets.values() if shares_image(image, candidate)]
    )
    if not sharing or sharing[0].provider != "aws":
        raise ImageError(
            f"{image.name} is an AMI, but {f'target {target} is not on AWS' if target else NO_TARGET};"
            " name a target in its account"
        )
    publisher, artifact = sharing[0], image.artifact
    if is_foreign(image, publisher):
        account = account_of(publisher)
        artifact = artifact_in(artifact, account)
        if not artifact:
            raise ImageError(
                f"{image.name} is not in account {account} of target {publisher.name} yet: verify it again"
            )
        publisher = replace(publisher, image_from=None)  # in its own account
    return open_images(publisher).publish(f"{image.service}/{channel}", artifact, check=check)


def image_tags(digest: str, service: str, version: str, store_id: str) -> dict[str, str]:
    """Return the tags of an AMI and everything its bake creates.

    The last two identify the leftovers of a killed bake.
    """
    return {
        key_of(tags.DIGEST): digest,
        key_of(tags.SERVICE): service,
        key_of(tags.VERSION): version,
        key_of(tags.STORE): store_id,
        key_of(tags.BAKE): bake_name(digest),
    }
