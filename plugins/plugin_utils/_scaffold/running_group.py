# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what an Auto Scaling group or a target group runs. Every call reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._aws.amis import find_ami
from .._aws.clients import Account, Clients, aws_errors
from .._aws.instances import instances_in, machine_settings
from .._core.errors import ImmutableError, ProviderError
from .yaml_text import outside

_MOST_IDS = 200  # values of one filter of DescribeInstances
_RUNNING = ("pending", "running", "stopping", "stopped")
_SCALING_TAG = "aws:autoscaling:groupName"


@dataclass
class RunningGroup:
    """What a group runs, as AWS describes it.

    Attributes:
        scaling: the name of the Auto Scaling group; "" for a target group.
        subnets: ids by zone.
        machine: type, instance_profile, security_groups and metadata_hop_limit, without what is unset.
        target_group: as DescribeTargetGroups returns it, or {} if there is none.
        size: instances that are registered or desired.
        left: what was found and has no key, with what becomes of it.
    """

    name: str
    region: str
    scaling: str = ""
    subnets: dict[str, str] = field(default_factory=dict)
    image: Mapping[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    target_group: Mapping[str, Any] = field(default_factory=dict)
    size: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)


def read_scaling_group(account: Account, name: str) -> RunningGroup:
    """Read an Auto Scaling group in at most five calls. Raises ImmutableError if it cannot be refreshed to an image."""
    clients = Clients(account)
    scaling = clients.client("autoscaling")
    with aws_errors(doing=f"reading group {outside(name)}"):
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    if not found:
        raise ImmutableError(
            f"auto_scaling_group: there is no group {outside(name)!r} in {clients.region}; name one that exists"
        )
    described = found[0]
    group = RunningGroup(name, clients.region, scaling=name, size=int(described["DesiredCapacity"]))
    data = _template_data(clients, described, group)
    group.subnets = _subnets(clients, described, group)
    group.image = _image(clients, str(data.get("ImageId") or ""))
    interface: Mapping[str, Any] = next(iter(data.get("NetworkInterfaces") or ()), {})
    group.machine = machine_settings(data, sorted(data.get("SecurityGroupIds") or interface.get("Groups") or ()))
    specifications = data.get("TagSpecifications") or ()
    own = [tag for each in specifications if each.get("ResourceType") == "instance" for tag in each.get("Tags", ())]
    passed_on = [tag for tag in described.get("Tags", ()) if tag.get("PropagateAtLaunch")]
    group.tags = _tags([*own, *passed_on])
    _add_left(group, described, data)
    arns = described.get("TargetGroupARNs", ())
    if arns:
        group.target_group = _target_group(clients, TargetGroupArns=[arns[0]])
    return group


def read_target_group(account: Account, name: str) -> RunningGroup:
    """Read a target group and its instances in at most four calls. Raises ImmutableError if it has no instances."""
    clients = Clients(account)
    by = {"TargetGroupArns": [name]} if name.startswith("arn:") else {"Names": [name]}
    described = _target_group(clients, **by)
    arn, shown = described["TargetGroupArn"], outside(name)
    if described.get("TargetType") != "instance":
        raise ImmutableError(
            f"target_group: {shown} has targets of the type {outside(described.get('TargetType'))} (allowed: instance, "
            "because a swap registers instances)"
        )
    group = RunningGroup(str(described["TargetGroupName"]), clients.region, target_group=described)
    with aws_errors(doing=f"reading target group {shown}"):
        health = clients.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ids = sorted({each["Target"]["Id"] for each in health if _is_registered(each)})
        filters = [
            {"Name": "instance-id", "Values": ids[:_MOST_IDS]},
            {"Name": "instance-state-name", "Values": [*_RUNNING]},
        ]
        pages = clients.ec2.get_paginator("describe_instances").paginate(Filters=filters) if ids else []
        instances = list(instances_in(pages))
    if not instances:
        raise ImmutableError(
            f"target_group: no instance is registered in {shown}, so there is nothing to take over (allowed: a target "
            "group with instances)"
        )
    group.size = len(ids)
    _add_instances(clients, group, instances)
    return group


def _is_registered(described: Mapping[str, Any]) -> bool:
    return bool(described.get("TargetHealth", {}).get("State") != "draining")


def _template_data(clients: Clients, described: Mapping[str, Any], group: RunningGroup) -> Mapping[str, Any]:
    """The data of the version of the launch template that the group launches now."""
    mixed = (described.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    chosen = described.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
    if not chosen:
        raise ImmutableError(
            f"auto_scaling_group: {outside(group.name)} has no launch template, so no refresh can change its image "
            "(allowed: a group with a launch template; copy its launch configuration to one)"
        )
    if mixed:
        group.left.append(("the mixed instances policy", "it stays with the group, and a refresh keeps it"))
    version = str(chosen.get("Version") or "$Default")
    with aws_errors(doing=f"reading the launch template of {outside(group.name)}"):
        found = clients.ec2.describe_launch_template_versions(
            LaunchTemplateId=chosen["LaunchTemplateId"], Versions=[version]
        )["LaunchTemplateVersions"]
    data: Mapping[str, Any] = found[0]["LaunchTemplateData"] if found else {}
    return data


def _subnets(clients: Clients, described: Mapping[str, Any], group: RunningGroup) -> dict[str, str]:
    ids = [each for each in str(described.get("VPCZoneIdentifier") or "").split(",") if each]
    if not ids:
        raise ImmutableError(
            f"auto_scaling_group: {outside(group.name)} has no subnets, in one of which an image is tested (allowed: a "
            "group with subnets)"
        )
    with aws_errors(doing=f"reading the subnets of {outside(group.name)}"):
        found = clients.ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": ids}])["Subnets"]
    zones: dict[str, str] = {}
    for subnet in sorted(found, key=lambda each: ids.index(each["SubnetId"])):
        if zones.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"]) != subnet["SubnetId"]:
            group.left.append((f"subnet {subnet['SubnetId']}", "a definition has one subnet for each zone"))
    return dict(sorted(zones.items()))


def _image(clients: Clients, ami: str) -> Mapping[str, Any]:
    """The AMI, or its id alone: it may be gone, or a template may name it by a parameter."""
    found = find_ami(clients.ec2, ami) if ami.startswith("ami-") else None
    return found or {"ImageId": ami}


def _target_group(clients: Clients, **by: list[str]) -> Mapping[str, Any]:
    name = outside(next(iter(by.values()))[0])
    try:
        with aws_errors(doing=f"reading target group {name}"):
            found = clients.client("elbv2").describe_target_groups(**by)["TargetGroups"]
    except ProviderError as error:
        if error.code != "TargetGroupNotFound":
            raise
        found = []
    if not found:
        raise ImmutableError(
            f"target_group: there is no target group {name!r} in {clients.region} (allowed: a name or an ARN)"
        )
    described: Mapping[str, Any] = found[0]
    return described


def _add_left(group: RunningGroup, described: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Add what stays with an Auto Scaling group, or has no place on a sealed host. Its values can be secret."""
    sizes = " to ".join(str(described.get(key)) for key in ("MinSize", "MaxSize"))
    group.left.append((f"the size of the group ({sizes}, now {group.size})", "it stays with the group"))
    if data.get("UserData"):
        group.left.append(
            (
                "user data of the launch template",
                "a sealed host runs none; move what it does into provision.yml and settings, then set "
                "fleet.autoscaling.drop_user_data",
            )
        )
    if data.get("KeyName"):
        group.left.append(("the key pair of the launch template", _KEY_PAIR))
    _add_disks(group, data.get("BlockDeviceMappings") or (), str(group.image.get("RootDeviceName", "")))


_KEY_PAIR = "hosts accept the key of the store, or authorized_key of the target"


def _add_disks(group: RunningGroup, disks: Iterable[Mapping[str, Any]], root: str) -> None:
    names = sorted(str(disk.get("DeviceName", "")) for disk in disks if disk.get("DeviceName") != root)
    if names and root:
        group.left.append(
            (f"disks {', '.join(names)}", "declare what has to outlive an instance under data (engine: swap)")
        )


def _add_instances(clients: Clients, group: RunningGroup, instances: list[dict[str, Any]]) -> None:
    """Add what most of the instances have in common."""
    amis = Counter(str(each.get("ImageId", "")) for each in instances)
    group.image = _image(clients, _most(amis))
    like = [each for each in instances if each.get("ImageId") == _most(amis)]
    types = Counter(str(each.get("InstanceType", "")) for each in like)
    closed = Counter(tuple(sorted(one["GroupId"] for one in each.get("SecurityGroups", ()))) for each in like)
    groups = min(closed, key=lambda each: (-closed[each], each))
    first = next(each for each in like if each.get("InstanceType") == _most(types))
    group.machine = machine_settings(first, groups)
    for what, values in (("AMIs", amis), ("instance types", types), ("sets of security groups", closed)):
        if len(values) > 1:
            group.left.append((f"{len(values)} different {what}", "the most frequent one was taken over"))
    for each in instances:
        zone, subnet = each.get("Placement", {}).get("AvailabilityZone"), each.get("SubnetId")
        if zone and subnet and group.subnets.setdefault(zone, subnet) != subnet:
            found = (f"subnet {subnet}", "a definition has one subnet for each zone")
            group.left += [] if found in group.left else [found]
    group.subnets = dict(sorted(group.subnets.items()))
    common = set.intersection(*(set(_tags(each.get("Tags", ())).items()) for each in instances))
    group.tags = dict(sorted(common))
    scaling = {tag["Value"] for each in instances for tag in each.get("Tags", ()) if tag["Key"] == _SCALING_TAG}
    if scaling:
        note = "the group would replace and register instances of its own; name it in auto_scaling_group instead"
        group.left.append((f"Auto Scaling group {', '.join(sorted(scaling))}", note))
    if any(each.get("InstanceLifecycle") == "spot" for each in instances):
        group.left.append(("Spot instances", "a swap launches on-demand instances"))
    if any(each.get("KeyName") for each in instances):
        group.left.append(("the key pair of the instances", _KEY_PAIR))
    _add_disks(group, first.get("BlockDeviceMappings", ()), str(first.get("RootDeviceName", "")))
    group.left.append(
        (
            f"{group.size} registered instances",
            "they are not taken over; the first swap registers new ones beside them, then deregister the old ones",
        )
    )


def _most(counted: Counter[str]) -> str:
    """The most frequent value; of several, the first by name."""
    return min(counted, key=lambda each: (-counted[each], each))


def _tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in tags}
