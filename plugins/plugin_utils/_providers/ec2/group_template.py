# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data of a launch template version: what a group needs so that its instances seal themselves. Pure.

A version carries the launch document as user data, like a launch by RunInstances. All instances of a version share the
document, and so its nonce: their evidence proves the version, not the single instance.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._aws.instances import HOP_LIMIT, machine_settings
from ..._aws.tags import MAX_TAGS, key_of
from ..._core.errors import ProviderError
from .. import tags as tag_names
from ..contract import LaunchRequest
from .launch_tags import OF_SLOT, instance_texts
from .run_instances import METADATA, Scope, document_of
from .tags import from_aws

# What 0.1.0 wrote, and volumes get no more. The other tags are about the launch of an instance.
VOLUME_TAGS = (tag_names.IMAGE, tag_names.IMAGE_NAME)


def version_data(data: Mapping[str, Any], ami: str, request: LaunchRequest, scope: Scope) -> dict[str, Any]:
    """What a new version sets. It inherits everything else from its source.

    Args:
        data: of the source, as EC2 describes it.
        request: of any instance of the group: they have no slots.

    Raises ProviderError if the document is larger than user data can be, or if an instance would have too many tags.
    """
    document, texts = document_of(request, scope), instance_texts(request, scope.store, ami)
    tags = {name: text for name, text in texts.items() if name not in OF_SLOT}
    described = dict(data.get("MetadataOptions") or {})
    described.pop("State", None)  # EC2 describes it, and accepts it nowhere
    return {
        "ImageId": ami,
        # boto3 encodes the user data of RunInstances, but not that of launch templates.
        "UserData": base64.b64encode(document).decode("ascii"),
        "MetadataOptions": {"HttpPutResponseHopLimit": HOP_LIMIT, **described, **METADATA, **_hops(request)},
        "TagSpecifications": _merged_tags(data, tags, scope.tags),
    }


def content_of(data: Mapping[str, Any], ami: str, request: LaunchRequest, scope: Scope) -> str:
    """The fingerprint of a version with this source, by which a version is found again.

    The launch fingerprint stands for the document: another zlib compresses the same document to other bytes.
    """
    merged = {**data, **version_data(data, ami, request, scope), "UserData": request.launch}
    return hashlib.sha256(json.dumps(merged, sort_keys=True, default=str).encode()).hexdigest()[:32]


def launches(data: Mapping[str, Any], ami: str, request: LaunchRequest) -> bool:
    """Whether instances of a version with this data are launched as requested."""
    return data.get("ImageId") == ami and carries_document(data) and _own_tags(data)[tag_names.LAUNCH] == request.launch


def carries_document(data: Mapping[str, Any]) -> bool:
    """Whether the user data of a version is a launch document: its tags say so."""
    return bool(data.get("UserData")) and {tag_names.LAUNCH, tag_names.NONCE} <= set(_own_tags(data))


def has_foreign_user_data(data: Mapping[str, Any]) -> bool:
    return bool(data.get("UserData")) and not carries_document(data)


def lacks_document(data: Mapping[str, Any], ami: str, request: LaunchRequest) -> bool:
    """Whether an earlier release made this version for the image: without a document, so its instances cannot seal.

    Such a group stays as it is until something else is due, because an upgrade alone replaces no instance. Declared
    settings and secrets are due.
    """
    made = data.get("ImageId") == ami and _own_tags(data).get(tag_names.IMAGE) == request.image
    return made and not data.get("UserData") and not request.settings and not request.secret_refs


def machine_of(data: Mapping[str, Any], policy: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by which RunInstances launches a machine like those of a version, without what is unset.

    The template itself cannot be launched from: it may name network interfaces, which EC2 rejects together with the
    subnet of a test.

    Args:
        policy: the group's mixed instances policy, {} if it has none. Its first instance type counts.
    """
    overrides = (policy.get("LaunchTemplate") or {}).get("Overrides") or ()
    types = [override["InstanceType"] for override in overrides if override.get("InstanceType")]
    interface: Mapping[str, Any] = next(iter(data.get("NetworkInterfaces") or ()), {})
    groups = data.get("SecurityGroupIds") or interface.get("Groups") or ()
    return machine_settings(data, groups, next(iter(types), ""))


def _hops(request: LaunchRequest) -> dict[str, int]:
    """The hop limit that the target declares. Else that of the source stays."""
    limit = request.machine.get("metadata_hop_limit")
    return {"HttpPutResponseHopLimit": limit} if limit else {}


def _own_tags(data: Mapping[str, Any]) -> dict[str, str]:
    return from_aws(
        {"Key": key, "Value": value}
        for kind, key, value in _tags_of(data.get("TagSpecifications") or ())
        if kind == "instance"
    )


def _merged_tags(data: Mapping[str, Any], tags: Mapping[str, str], own: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tags of a version, given as a whole: its own remain, and instances and volumes get ``tags`` in addition.

    Args:
        own: the target's own tags. Network interfaces get them too.

    Raises ProviderError if an instance would have too many.
    """
    merged: dict[str, dict[str, str]] = {"instance": {}, "volume": {}}
    for kind, key, value in _tags_of(data.get("TagSpecifications") or ()):
        merged.setdefault(kind, {})[key] = value
    merged["instance"].update({key_of(name): text for name, text in tags.items()})
    merged["volume"].update({key_of(name): tags[name] for name in VOLUME_TAGS if name in tags})
    for kind in ("instance", "volume", "network-interface") if own else ():
        merged.setdefault(kind, {}).update(own)
    for kind, values in merged.items():
        if len(values) > MAX_TAGS:
            raise ProviderError(
                f"the {kind} of a new version of the launch template would have {len(values)} tags: those of its "
                f"template, {len(own)} of the target and {len(tags)} of this collection (AWS allows {MAX_TAGS})"
            )
    return [
        {"ResourceType": kind, "Tags": [{"Key": key, "Value": values[key]} for key in sorted(values)]}
        for kind, values in sorted(merged.items())
    ]


def _tags_of(specifications: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for specification in specifications:
        for tag in specification.get("Tags", ()):
            yield specification["ResourceType"], tag["Key"], tag["Value"]
