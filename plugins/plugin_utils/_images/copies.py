# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The AMIs of one image: where targets need copies, and who hands them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .._aws.clients import Clients
from .._aws.tags import key_of
from .._core.errors import ImageError
from .._definition.model import Definition, Target
from .._image_model import Image, amis_of, bake_name
from .._providers import tags
from .._providers.registry import open_images
from .catalogue import Catalogue


def region_of(target: Target) -> str:
    """Where a target on AWS is. Raises ProviderError where nothing says it."""
    return Clients(target.aws).region


def missing(image: Image, definition: Definition) -> dict[str, str]:
    """Regions of the definition's targets that share the image and that it is not in yet, each with the key that encrypts it there."""
    present = amis_of(image.artifact)
    sharing = {
        region_of(target): target.build.kms_key for target in definition.targets.values() if shares(image, target)
    }
    return {region: key for region, key in sharing.items() if region not in present}


def shares(image: Image, target: Target) -> bool:
    """Whether the target's images are baked where this AMI was, and on the same base."""
    if target.provider != "aws" or not amis_of(image.artifact) or target.base.source != image.base["source"]:
        return False
    baked_there = Clients(target.build_account).region == image.artifact["region"]
    return baked_there and open_images(target).build(image.artifact["architecture"]) == image.build


def copied(image: Image, target: Target, places: Mapping[str, str], store: str, catalogue: Catalogue) -> Image:
    """The image with copies in ``places`` (see ``missing``), on record too. ``store``: the store's identity."""
    if not places:
        return image
    named = image_tags(image.digest, image.service, image.version, store)
    copies = open_images(target).copy(image.artifact, places, named)["copies"]
    known = (
        catalogue.get(image.digest, image.build) or image
    )  # another target's run may have noted something while it was copied
    made = replace(known, artifact={**known.artifact, "copies": {**known.artifact.get("copies", {}), **copies}})
    catalogue.add(made)
    return made


def published(
    image: Image, definition: Definition, target: str | None, channel: str, *, check: bool
) -> Mapping[str, str]:
    """Tell other tools that the channel is at ``image``; see ``Images.publish``. Nothing where its provider has no place for that.

    Args:
        target: whose account it is told with; None for the first that shares the image.
        check: change nothing.
    """
    if not amis_of(image.artifact):
        return {}
    sharing = (
        [definition.target(target)] if target else [each for each in definition.targets.values() if shares(image, each)]
    )
    if not sharing or sharing[0].provider != "aws":
        raise ImageError(
            f"{image.name} is an image of AWS, but {target or 'no target of the definition'} shares it: name a target in its account"
        )
    return open_images(sharing[0]).publish(f"{image.service}/{channel}", image.artifact, check=check)


def image_tags(digest: str, service: str, version: str, store: str) -> dict[str, str]:
    """For an AMI and all that is made on the way to it. The last two tell whose build machine one is that was left over."""
    return {
        key_of(tags.DIGEST): digest,
        key_of(tags.SERVICE): service,
        key_of(tags.VERSION): version,
        key_of(tags.STORE): store,
        key_of(tags.BAKE): bake_name(digest),
    }
