# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed runs left: everything with the tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .live import MARK, Live

_MOST_ARNS = 20  # of one call of DescribeTags
_MARKED = [{"Name": "tag-key", "Values": [MARK]}]


def remove(live: Live) -> int:
    """Remove it from the region, and print what was removed. Returns the exit code."""
    ec2 = live.client("ec2")
    states = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    pages = ec2.get_paginator("describe_instances").paginate(Filters=[*_MARKED, states])
    instances = [each["InstanceId"] for page in pages for group in page["Reservations"] for each in group["Instances"]]
    if instances:
        ec2.terminate_instances(InstanceIds=instances)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=instances)
    snapshots = [each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"], Filters=_MARKED)["Snapshots"]]
    for one in snapshots:
        ec2.delete_snapshot(SnapshotId=one)
    unused = {"Name": "status", "Values": ["available"]}
    volumes = [each["VolumeId"] for each in ec2.describe_volumes(Filters=[*_MARKED, unused])["Volumes"]]
    for one in volumes:
        ec2.delete_volume(VolumeId=one)
    others = [*_balancers(live), *_templates(live)]
    print("removed:", ", ".join([*instances, *snapshots, *volumes, *others]) or "nothing was left")
    return 0


def _balancers(live: Live) -> list[str]:
    """Load balancers and then target groups. Their lists have no tags, and a name alone proves nothing."""
    elb = live.client("elbv2")
    pages = elb.get_paginator("describe_load_balancers").paginate()
    balancers = {each["LoadBalancerArn"]: each["LoadBalancerName"] for page in pages for each in page["LoadBalancers"]}
    pages = elb.get_paginator("describe_target_groups").paginate()
    groups = {each["TargetGroupArn"]: each["TargetGroupName"] for page in pages for each in page["TargetGroups"]}
    removed = []
    for arn in _marked(elb, balancers):
        elb.delete_load_balancer(LoadBalancerArn=arn)
        removed.append(balancers[arn])
    for arn in _marked(elb, groups):
        elb.delete_target_group(TargetGroupArn=arn)
        removed.append(groups[arn])
    return removed


def _marked(elb: Any, names: Mapping[str, str]) -> list[str]:
    """The ARNs of those that have the name and the tag of a run."""
    named = [arn for arn, name in names.items() if name.startswith(MARK)]
    found: list[str] = []
    for start in range(0, len(named), _MOST_ARNS):
        answer = elb.describe_tags(ResourceArns=named[start : start + _MOST_ARNS])
        for each in answer["TagDescriptions"]:
            found += [each["ResourceArn"]] if MARK in [tag["Key"] for tag in each["Tags"]] else []
    return found


def _templates(live: Live) -> list[str]:
    ec2 = live.client("ec2")
    found = ec2.describe_launch_templates(Filters=_MARKED)["LaunchTemplates"]
    for each in found:
        ec2.delete_launch_template(LaunchTemplateId=each["LaunchTemplateId"])
    return [each["LaunchTemplateName"] for each in found]
