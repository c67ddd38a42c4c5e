# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resolves the Glance image of a definition's base to its ID, because a name may refer to another image tomorrow."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..._core.errors import BakeError, ProviderError
from ..._definition.glance_image import SELF, GlanceReference, glance_reference
from ..._definition.model import Base
from ..._openstack.cloud import Cloud
from ..._openstack.connect import Connections
from ..._openstack.glance import ACTIVE, QCOW2, RAW, Glance, GlanceImage, content_hash

ARCHITECTURE = "x86_64"  # of an image without this property
FORMATS = (QCOW2, RAW)
_WILDCARDS = "*?"
_SHOWN = 40  # characters of what an image says about itself


def resolve_glance(base: Base, cloud: Cloud) -> dict[str, Any]:
    """Return ``{"kind", "source", "image", "region", "hash", "architecture", "python"}``.

    Args:
        cloud: where the image is, and where it is baked on.

    Calls Glance once per process. Raises BakeError for an image that does not exist or cannot be baked on.
    """
    try:
        image = _resolve(cloud, base.source)
        region = Connections(cloud).region
    except ProviderError as error:
        raise BakeError(f"the base {base.source}: {error.message}", **error.details) from error
    return {
        "kind": base.kind,
        "source": base.source,
        "image": str(image["id"]),
        "region": region,
        "hash": content_hash(image),
        "architecture": str(image.get("architecture") or ARCHITECTURE),
        "python": base.python,
    }


@functools.cache
def _resolve(cloud: Cloud, source: str) -> GlanceImage:
    connections = Connections(cloud)
    reference = glance_reference(source)
    image = _by_id(connections, reference.image) if reference.image else _newest(connections, reference, source)
    problem = _problem(image)
    if problem:
        raise BakeError(f"the base {source} is the image {image['id']} of {connections.place}, which {problem}")
    return image


def _by_id(connections: Connections, image: str) -> GlanceImage:
    found = Glance(connections).find(image)
    if found is None:
        raise BakeError(f"the base {image}: {connections.place} has no image with this ID that this project may use")
    return found


def _newest(connections: Connections, reference: GlanceReference, source: str) -> GlanceImage:
    query = {"status": ACTIVE, **reference.properties}
    owner = connections.project_id if reference.owner == SELF else reference.owner
    if owner:
        query["owner"] = owner
    if reference.name and not set(_WILDCARDS) & set(reference.name):
        query["name"] = reference.name
    matching = newest_first(Glance(connections).search(**query), reference, owner)
    if not matching:
        raise BakeError(f"the base {source}: no active image of {connections.place} matches it")
    architectures = sorted({str(image.get("architecture") or ARCHITECTURE)[:_SHOWN] for image in matching})
    if len(architectures) > 1:
        raise BakeError(
            f"the base {source} matches images for {' and '.join(architectures)};"
            " name the property architecture, or a name that matches one architecture"
        )
    return matching[0]


def newest_first(images: Sequence[GlanceImage], reference: GlanceReference, owner: str) -> list[GlanceImage]:
    """Return the images that match, newest first. Glance compares what is not a wildcard; here all is compared again.

    Args:
        owner: ID of the owning project, or "" for any.
    """
    wanted = [
        image
        for image in images
        if image.get("status") == ACTIVE
        and owner in ("", image.get("owner"))
        and (not reference.name or fnmatchcase(str(image.get("name")), _pattern(reference.name)))
        and all(image.get(name) == value for name, value in reference.properties.items())
    ]
    return sorted(wanted, key=lambda image: (str(image.get("created_at")), str(image["id"])), reverse=True)


def _pattern(name: str) -> str:
    """A name with * and ? for ``fnmatchcase``, which also knows sets in brackets."""
    return name.replace("[", "[[]")


def _problem(image: Mapping[str, Any]) -> str:
    """Why the image cannot be baked on, or ''."""
    if image.get("status") != ACTIVE:
        return f"is {str(image.get('status'))[:_SHOWN]}"
    if not content_hash(image):
        return "has no bytes of its own (it refers to a snapshot of a volume); make an image of the volume"
    if image.get("disk_format") not in FORMATS:
        return f"has the disk format {str(image.get('disk_format'))[:_SHOWN]} (allowed: {', '.join(FORMATS)})"
    if str(image.get("os_type", "")).lower() == "windows":
        return "runs Windows; only Linux can be baked"
    return ""
