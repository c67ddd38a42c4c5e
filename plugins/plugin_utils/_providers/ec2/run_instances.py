# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turn launch requests into the parameters of RunInstances. Pure.

Requests that differ only in their slot are launched by one call. Its client token and the nonce that its instances
share are derived from the tokens of the requests. A call that is repeated after a lost answer is therefore identical,
as EC2 requires of a repeated token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._aws.batches import batches
from ..._aws.instances import HOP_LIMIT, MAX_LAUNCHED
from ..._aws.tags import MAX_TAGS, NAME_KEY
from ..._core.errors import ImageError, ProviderError
from ..._core.gibibytes import gib
from ..._image_model import ami_of
from .. import tags as tag_names
from ..contract import LaunchRequest, Volume
from ..guest_document import user_data
from .describe import BUCKET
from .launch_tags import instance_texts
from .tags import to_aws, with_own

DEFAULT_TYPE = "t3.micro"
# The guest reads its document by version 2 of the protocol. Tags contain the nonce, which only root may know.
METADATA = {"HttpEndpoint": "enabled", "HttpTokens": "required", "InstanceMetadataTags": "disabled"}


@dataclass(frozen=True)
class Scope:
    """The region and the store that a provider works for."""

    region: str
    store: str  # the store's identity
    endpoint_url: str = ""  # of AWS services, also as the hosts see them; "" for AWS's own
    tags: Mapping[str, str] = field(default_factory=dict)  # the target's own, on everything that is created
    account: str = ""  # the ID of its account if images are baked in another one
    evidence: Mapping[str, Any] | None = None  # where hosts put evidence; None if the store is not in S3


@dataclass(frozen=True)
class LaunchBatch:
    """Requests that one call launches, by slot. ``volumes``: the data volumes of their slot, if it has any."""

    requests: tuple[LaunchRequest, ...]
    volumes: tuple[Volume, ...] = ()

    @property
    def first(self) -> LaunchRequest:
        return self.requests[0]

    @property
    def movable(self) -> bool:
        """Whether it may be launched in another zone. Data volumes cannot follow it there."""
        return not self.volumes

    def zones(self) -> list[str]:
        """Zones in which it may be launched, the requested one first."""
        subnets = list(self.first.machine["subnets"])
        preferred = _zone_of(self.first, self.volumes) or subnets[0]
        return [preferred, *(zone for zone in subnets if zone != preferred)] if self.movable else [preferred]


def launch_batches(requests: Sequence[LaunchRequest], volumes: Mapping[int, Sequence[Volume]]) -> list[LaunchBatch]:
    """Group requests into as few calls as possible. ``volumes``: data volumes by slot."""
    alike: dict[str, list[LaunchRequest]] = {}
    for request in sorted(requests, key=lambda request: request.slot):
        alike.setdefault(_batch_key(request, volumes.get(request.slot, ())), []).append(request)
    parts = (part for group in alike.values() for part in batches(group, MAX_LAUNCHED))
    return [LaunchBatch(tuple(part), tuple(volumes.get(part[0].slot, ()))) for part in parts]


def run_instances_parameters(
    batch: LaunchBatch, zone: str, scope: Scope, root: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters of one call.

    Args:
        root: block device mapping of the image's root device, if the target wants a larger root disk.

    Raises ProviderError for what EC2 would refuse.
    """
    tokens = json.dumps([request.token for request in batch.requests])
    request = replace(batch.first, nonce=_sha256("nonce", tokens)[:32])
    machine = request.machine
    ami = require_ami(request.artifact, scope)
    volume_ids = {volume.name: volume.id for volume in batch.volumes}
    blank = [volume.name for volume in batch.volumes if volume.created_blank]
    parameters: dict[str, Any] = {
        "ImageId": ami,
        "MinCount": len(batch.requests),
        "MaxCount": len(batch.requests),
        "ClientToken": _sha256("token", tokens, zone),
        "SubnetId": subnet_of(machine, zone),
        "UserData": document_of(request, scope, volume_ids, blank),
        "InstanceInitiatedShutdownBehavior": "stop",  # an instance that shuts itself down remains visible
        "MetadataOptions": {
            **METADATA,
            "HttpPutResponseHopLimit": machine.get("metadata_hop_limit", HOP_LIMIT),
        },
        "TagSpecifications": _tag_specifications(batch, request, scope, ami),
    }
    if machine.get("launch_template"):
        template, version = machine["launch_template"]
        parameters["LaunchTemplate"] = {"LaunchTemplateId": template, "Version": str(version)}
    if machine.get("type") or not machine.get("launch_template"):
        parameters["InstanceType"] = machine.get("type") or DEFAULT_TYPE
    if machine.get("instance_profile"):
        parameters["IamInstanceProfile"] = {"Name": machine["instance_profile"]}
    if machine.get("security_groups"):
        parameters["SecurityGroupIds"] = list(machine["security_groups"])
    if machine.get("root_size"):
        parameters["BlockDeviceMappings"] = [_root_mapping(root or {}, machine["root_size"])]
    return parameters


def document_of(
    request: LaunchRequest, scope: Scope, volumes: Mapping[str, str] | None = None, blank: Sequence[str] = ()
) -> bytes:
    """The launch document as user data. See ``user_data``."""
    evidence = scope.evidence if request.machine.get("evidence") == BUCKET else None
    return user_data(request, volumes or {}, scope.region, scope.endpoint_url, blank=blank, evidence=evidence)


def require_ami(artifact: Mapping[str, Any], scope: Scope) -> str:
    """The image's AMI in the region and account. Raises ProviderError if it has none there."""
    try:
        return ami_of(artifact, scope.region, account=scope.account)
    except ImageError as error:
        raise ProviderError(error.message) from error


def subnet_of(machine: Mapping[str, Any], zone: str) -> str:
    """The subnet of a zone. Raises ProviderError if the target names none for it."""
    subnets: Mapping[str, str] = machine["subnets"]
    if zone not in subnets:
        raise ProviderError(f"network.subnets: zone {zone} has none (it has: {', '.join(subnets)})")
    return subnets[zone]


def _zone_of(request: LaunchRequest, volumes: Sequence[Volume]) -> str:
    """The zone of the slot's data, else the requested one: a slot's zone can change after its first launch."""
    return next((volume.zone for volume in volumes if volume.zone), request.zone)


def _batch_key(request: LaunchRequest, volumes: Sequence[Volume]) -> str:
    """The same text for requests that one call can launch."""
    tags = {name: value for name, value in request.tags.items() if name != tag_names.ATTEMPT}
    plain = [
        _zone_of(request, volumes),
        request.fleet,
        request.image,
        request.launch,
        request.purpose,
        request.ports,
        request.authorized_keys,
    ]
    mappings = [request.artifact, request.settings, request.secret_refs, request.machine, tags]
    names = [sorted(request.secrets), [volume.id for volume in volumes]]
    return json.dumps([*plain, *mappings, *names], sort_keys=True, default=dict)


def _tag_specifications(batch: LaunchBatch, request: LaunchRequest, scope: Scope, ami: str) -> list[dict[str, Any]]:
    texts = instance_texts(request, scope.store, ami)
    common = {name: texts[name] for name in (tag_names.FLEET, tag_names.STORE, tag_names.IMAGE)}
    texts[tag_names.SLOTS] = ",".join(str(one.slot) for one in batch.requests)
    if tag_names.ATTEMPT in request.tags:  # the only tag of a request that may differ within a batch
        texts[tag_names.ATTEMPT] = ",".join(one.tags[tag_names.ATTEMPT] for one in batch.requests)
    name = {"Key": NAME_KEY, "Value": request.fleet}
    tags = with_own([name, *to_aws(texts)], scope.tags)
    if len(tags) > MAX_TAGS:
        raise ProviderError(
            f"an instance of {request.fleet} needs {len(tags)} tags, and EC2 allows {MAX_TAGS}: "
            "launch fewer instances at a time (fleet.surge), or give the target fewer tags"
        )
    return [
        {"ResourceType": "instance", "Tags": tags},
        *(
            {"ResourceType": kind, "Tags": with_own([name, *to_aws(common)], scope.tags)}
            for kind in ("volume", "network-interface")
        ),
    ]


def _root_mapping(root: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"DeviceName": root["DeviceName"], "Ebs": {"VolumeSize": gib(size), "DeleteOnTermination": True}}


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
