# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resolves the AMI of a definition's base to its id, because a name or parameter may refer to another AMI tomorrow."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ..._aws.clients import Account, Clients, aws_errors
from ..._core.errors import BakeError
from ..._definition.ami import AmiReference, ami_reference
from ..._definition.model import Base


def resolve_ami(base: Base, account: Account) -> dict[str, Any]:
    """Return ``{"kind", "source", "ami", "region", "architecture" (EC2's word), "root_device", "python"}``.

    Calls AWS once per process. Raises BakeError for an AMI that does not exist or cannot be baked on.
    """
    clients = Clients(account)
    with aws_errors(BakeError, f"the base {base.source}"):
        image = _describe(clients.ec2, clients.client("ssm"), base.source)
    return {
        "kind": base.kind,
        "source": base.source,
        "ami": image["ImageId"],
        "region": clients.region,
        "architecture": image["Architecture"],
        "root_device": image["RootDeviceName"],
        "python": base.python,
    }


@functools.cache
def _describe(ec2: Any, ssm: Any, source: str) -> Mapping[str, Any]:
    """The AMI as EC2 describes it.

    There is one client per account and region, so the clients identify both in the cache.
    """
    reference, region = ami_reference(source), ec2.meta.region_name
    image = (
        _newest(_by_name(ec2, reference), source, region)
        if reference.name
        else _by_id(ec2, _id(ssm, reference, region), source, region)
    )
    problem = _problem(image)
    if problem:
        raise BakeError(f"the base {source} is {image['ImageId']} in {region}, which {problem}")
    return image


def _id(ssm: Any, reference: AmiReference, region: str) -> str:
    if not reference.parameter:
        return reference.ami
    value = str(ssm.get_parameter(Name=reference.parameter)["Parameter"]["Value"])
    if not value.startswith("ami-"):
        raise BakeError(
            f"the SSM parameter {reference.parameter} in {region} does not contain the id of an AMI, but {value[:40]!r}"
        )
    return value


def _by_id(ec2: Any, ami: str, source: str, region: str) -> Mapping[str, Any]:
    found = _images(ec2, Filters=[{"Name": "image-id", "Values": [ami]}])
    if not found:
        raise BakeError(
            f"the base {source}: there is no AMI {ami} in {region} that this account may use"
            " (an AMI has another id in each region)"
        )
    return found[0]


def _by_name(ec2: Any, reference: AmiReference) -> list[dict[str, Any]]:
    filters = [{"Name": "name", "Values": [reference.name]}, {"Name": "state", "Values": ["available"]}]
    return _images(ec2, Owners=[reference.owner], Filters=filters)


def _newest(images: Sequence[Mapping[str, Any]], source: str, region: str) -> Mapping[str, Any]:
    if not images:
        raise BakeError(f"the base {source}: no available AMI in {region} has this owner and name")
    architectures = sorted({image["Architecture"] for image in images})
    if len(architectures) > 1:
        raise BakeError(
            f"the base {source}: the name matches AMIs for {' and '.join(architectures)};"
            " write a name that matches one architecture"
        )
    return max(images, key=lambda image: (image["CreationDate"], image["ImageId"]))


def _images(ec2: Any, **query: Any) -> list[dict[str, Any]]:
    return [image for page in ec2.get_paginator("describe_images").paginate(**query) for image in page["Images"]]


def _problem(image: Mapping[str, Any]) -> str:
    """Why the AMI cannot be baked on, or ''."""
    if image["State"] != "available":
        return f"is {image['State']}"
    if image.get("Platform", "").lower() == "windows":
        return "runs Windows; only Linux can be baked"
    if image.get("RootDeviceType", "ebs") != "ebs":
        return "has its root on an instance store; only AMIs with EBS can be baked on"
    return ""
