# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From launch requests to the parameters of RunInstances. Pure.

What differs in nothing but its slot is launched by one call. Its client token is made from the requests' own tokens, and so is the nonce that they
share: a call repeated after a lost answer is the same call to the letter, as EC2 wants it of a token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._aws.batches import batches
from ..._core.errors import ProviderError
from ..._image_model import amis_of
from ..contract import LaunchRequest, Volume
from ..guest_document import user_data
from .tags import MOST, written

ATTEMPT = "attempt"  # the one tag that may differ within a group
DEFAULT_TYPE = "t3.micro"
GIB = 1024**3
TOGETHER = 100  # instances that one call launches at most: AWS advises so, and tags have room for their slots


@dataclass(frozen=True)
class Site:
    """Where instances are launched from here, and for whom."""

    region: str
    store: str  # the store's identity
    endpoint_url: str = ""  # of AWS's services, as the hosts see them too; "" for AWS's own


@dataclass(frozen=True)
class Group:
    """Requests of one call, by slot. ``volumes``: the data volumes of their slot, where it has some."""

    requests: tuple[LaunchRequest, ...]
    volumes: tuple[Volume, ...] = ()

    @property
    def first(self) -> LaunchRequest:
        return self.requests[0]

    @property
    def movable(self) -> bool:
        """Whether it may be launched in another zone: its data cannot follow it there."""
        return not self.volumes

    def zones(self) -> list[str]:
        """Where it may be launched, the zone asked for first."""
        subnets = list(self.first.machine["subnets"])
        wanted = _zone(self.first, self.volumes) or subnets[0]
        return [wanted, *(each for each in subnets if each != wanted)] if self.movable else [wanted]


def groups_of(requests: Sequence[LaunchRequest], volumes: Mapping[int, Sequence[Volume]]) -> list[Group]:
    """``volumes``: data volumes by slot."""
    alike: dict[str, list[LaunchRequest]] = {}
    for request in sorted(requests, key=lambda each: each.slot):
        alike.setdefault(_likeness(request, volumes.get(request.slot, ())), []).append(request)
    parts = (part for each in alike.values() for part in batches(each, TOGETHER))
    return [Group(tuple(each), tuple(volumes.get(each[0].slot, ()))) for each in parts]


def parameters_of(group: Group, zone: str, site: Site, root: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``root``: the mapping of the image's root device, where the target wants it larger. Raises ProviderError for what EC2 would not take."""
    tokens = json.dumps([each.token for each in group.requests])
    request = replace(group.first, nonce=_digest("nonce", tokens)[:32])
    machine = request.machine
    ami = ami_of(request.artifact, site.region)
    told: dict[str, Any] = {
        "ImageId": ami,
        "MinCount": len(group.requests),
        "MaxCount": len(group.requests),
        "ClientToken": _digest("token", tokens, zone),
        "SubnetId": subnet_of(machine, zone),
        "UserData": user_data(request, {each.name: each.id for each in group.volumes}, site.region, site.endpoint_url),
        "InstanceInitiatedShutdownBehavior": "stop",  # what shuts itself down is seen, not gone
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "disabled",
        },
        "TagSpecifications": _tags(group, request, site, ami),
    }
    if machine.get("launch_template"):
        template, version = machine["launch_template"]
        told["LaunchTemplate"] = {"LaunchTemplateId": template, "Version": str(version)}
    if machine.get("type") or not machine.get("launch_template"):
        told["InstanceType"] = machine.get("type") or DEFAULT_TYPE
    if machine.get("instance_profile"):
        told["IamInstanceProfile"] = {"Name": machine["instance_profile"]}
    if machine.get("security_groups"):
        told["SecurityGroupIds"] = list(machine["security_groups"])
    if machine.get("root_size"):
        told["BlockDeviceMappings"] = [_root(root or {}, machine["root_size"])]
    return told


def ami_of(artifact: Mapping[str, Any], region: str) -> str:
    """The image's AMI in a region. Raises ProviderError where it has none there."""
    amis = amis_of(artifact)
    if region not in amis:
        raise ProviderError(
            f"the image has no AMI in {region} (it has: {', '.join(sorted(amis)) or 'none'}); verify it again, which copies it there"
        )
    return amis[region]


def subnet_of(machine: Mapping[str, Any], zone: str) -> str:
    subnets: Mapping[str, str] = machine["subnets"]
    if zone not in subnets:
        raise ProviderError(f"network.subnets: zone {zone} has none (it has: {', '.join(subnets)})")
    return subnets[zone]


def _zone(request: LaunchRequest, volumes: Sequence[Volume]) -> str:
    """Where its data is, else where it shall be: which zone a slot is in may have changed since."""
    return next((each.zone for each in volumes if each.zone), request.zone)


def _likeness(request: LaunchRequest, volumes: Sequence[Volume]) -> str:
    """The same text for requests that one call can launch."""
    tags = {name: value for name, value in request.tags.items() if name != ATTEMPT}
    plain = [
        _zone(request, volumes),
        request.fleet,
        request.image,
        request.launch,
        request.purpose,
        request.ports,
        request.authorized_keys,
    ]
    mappings = [request.artifact, request.settings, request.secret_refs, request.machine, tags]
    names = [sorted(request.secrets), [each.id for each in volumes]]
    return json.dumps([*plain, *mappings, *names], sort_keys=True, default=dict)


def _tags(group: Group, request: LaunchRequest, site: Site, ami: str) -> list[dict[str, Any]]:
    common = {"fleet": request.fleet, "store": site.store, "image": request.image}
    own = {
        **request.tags,
        **common,
        "ami": ami,
        "launch": request.launch,
        "purpose": request.purpose,
        "nonce": request.nonce,
        "slots": ",".join(str(each.slot) for each in group.requests),
        "ports": ",".join(str(port) for port in request.ports),
        "evidence": request.machine.get("evidence", "console"),
        "address": request.machine.get("address", "private"),
    }
    if ATTEMPT in request.tags:
        own[ATTEMPT] = ",".join(each.tags[ATTEMPT] for each in group.requests)
    name = {"Key": "Name", "Value": request.fleet}
    found = [name, *written(own)]
    if len(found) > MOST:
        raise ProviderError(
            f"what is to be told of {request.fleet} takes {len(found)} tags, and EC2 takes {MOST}: launch fewer at a time (fleet.surge)"
        )
    return [
        {"ResourceType": "instance", "Tags": found},
        *({"ResourceType": kind, "Tags": [name, *written(common)]} for kind in ("volume", "network-interface")),
    ]


def _root(root: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"DeviceName": root["DeviceName"], "Ebs": {"VolumeSize": gib(size), "DeleteOnTermination": True}}


def gib(size: int) -> int:
    """Bytes as whole GiB, rounded up."""
    return -(-size // GIB)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
