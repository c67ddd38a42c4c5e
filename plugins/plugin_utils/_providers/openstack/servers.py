# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turn launch requests into the bodies of Nova's requests. Pure.

One request launches one server. Nova could launch several at once, but would give all of them the same metadata, the
same tags and the same user data, and does not say to their owner which is which.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._core.errors import ImageError, ProviderError
from ..._image_model import glance_in, glance_of
from ..._openstack.metadata import MAX_ITEMS
from .. import tags as tag_names
from ..cloud_texts import launch_texts
from ..contract import LaunchRequest, Volume
from ..guest_document import compressed, members, volume_members
from .describe import serial_of
from .metadata import FORM, fleet_tag, store_tag

# Nova accepts 65535 characters of Base64, see ``user_data`` in the reference of its API.
USER_DATA_LIMIT = 65535 // 4 * 3  # bytes
MAX_NAME = 255  # characters


@dataclass(frozen=True)
class Scope:
    """The store that a provider works for, and the place."""

    store: str  # the store's identity
    tags: Mapping[str, str] = field(default_factory=dict)  # the target's own, as metadata of all that is created
    project: str = ""  # the ID of its project if images are baked in another one
    region: str = ""  # the same


@dataclass(frozen=True)
class Resolved:
    """What names of a target's settings mean in the cloud: IDs."""

    flavor: str
    networks: tuple[str, ...] = ()
    network_name: str = ""  # of the first network
    group: str = ""  # of the server group; "" for none


def token_of(request: LaunchRequest, scope: Scope) -> str:
    """The identity of a launch: one token is one server."""
    return hashlib.sha256("\0".join((scope.store, request.fleet, request.token)).encode()).hexdigest()[:32]


def image_of(request: LaunchRequest, scope: Scope) -> str:
    """The ID of the image in Glance. Raises ProviderError if the artifact has none that the project may launch."""
    image = glance_of(request.artifact)
    if not image:
        raise ProviderError(f"image {request.image} is not in Glance (bake it for this target)")
    if not scope.project:
        return image
    try:
        return glance_in(request.artifact, scope.project, scope.region, f"the image {request.image}")
    except ImageError as error:
        raise ProviderError(error.message) from error


def server_request(
    request: LaunchRequest, scope: Scope, resolved: Resolved, volumes: Sequence[Volume] = ()
) -> dict[str, Any]:
    """The body of a request that launches one server.

    Args:
        volumes: the data volumes of the slot, attached later.

    Raises ProviderError for what Nova would refuse.
    """
    machine = request.machine
    server: dict[str, Any] = {
        "name": f"{request.fleet}-{request.slot}"[:MAX_NAME],
        "imageRef": image_of(request, scope),
        "flavorRef": resolved.flavor,
        "networks": [{"uuid": network} for network in resolved.networks] or "none",
        "metadata": metadata_of(request, scope, resolved),
        "tags": [store_tag(scope.store), fleet_tag(request.fleet)],
        "user_data": user_data_of(request, volumes),
        "config_drive": bool(machine.get("config_drive", True)),
    }
    if machine.get("security_groups"):
        server["security_groups"] = [{"name": group} for group in machine["security_groups"]]
    if request.zone:
        server["availability_zone"] = request.zone
    hints = {"os:scheduler_hints": {"group": resolved.group}} if resolved.group else {}
    return {"server": server, **hints}


def machine_of(request: LaunchRequest) -> str:
    """A fingerprint of those settings of the target that a server keeps for as long as it exists."""
    kept = {name: value for name, value in request.machine.items() if name not in ("evidence", "address")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:32]


def metadata_of(
    request: LaunchRequest, scope: Scope, resolved: Resolved, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The metadata of a new or reimaged server. Raises ProviderError if it has too many items.

    Args:
        more: further texts by name.
    """
    texts = {
        **launch_texts(request, scope.store),
        **(more or {}),
        tag_names.SLOT: str(request.slot),
        tag_names.GLANCE: image_of(request, scope),
        tag_names.TOKEN: token_of(request, scope),
        tag_names.MACHINE: machine_of(request),
        tag_names.NETWORK: resolved.network_name,
    }
    metadata = {**scope.tags, **FORM.tags_of(texts)}
    if len(metadata) > MAX_ITEMS:
        raise ProviderError(
            f"an instance of {request.fleet} needs {len(metadata)} items of metadata, and Nova allows {MAX_ITEMS}: "
            "give the target fewer tags"
        )
    return metadata


def user_data_of(request: LaunchRequest, volumes: Sequence[Volume]) -> str:
    """The launch document as user data, in Base64.

    Raises ProviderError if the document is too large, or if a secret is in it: every process of the guest can read user
    data from the metadata service.
    """
    if request.secrets or request.secret_refs:
        names = ", ".join(sorted({*request.secrets, *request.secret_refs}))
        raise ProviderError(f"secrets never go into user data: {names} (let the service fetch them)")
    serials = {volume.name: serial_of(volume.id) for volume in volumes}
    blank = [volume.name for volume in volumes if volume.created_blank]
    files = members(request) | volume_members(serials, blank)
    return base64.b64encode(compressed(files, request.fleet, USER_DATA_LIMIT, "Nova")).decode("ascii")
