# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed runs left: everything with the tag."""

from __future__ import annotations

from .live import MARK, Live

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
    """Load balancers and then target groups, by their names: they list no tags."""
    elb, removed = live.client("elbv2"), []
    for found in elb.describe_load_balancers()["LoadBalancers"]:
        if found["LoadBalancerName"].startswith(MARK):
            elb.delete_load_balancer(LoadBalancerArn=found["LoadBalancerArn"])
            removed.append(found["LoadBalancerName"])
    for found in elb.describe_target_groups()["TargetGroups"]:
        if found["TargetGroupName"].startswith(MARK):
            elb.delete_target_group(TargetGroupArn=found["TargetGroupArn"])
            removed.append(found["TargetGroupName"])
    return removed


def _templates(live: Live) -> list[str]:
    ec2 = live.client("ec2")
    found = ec2.describe_launch_templates(Filters=_MARKED)["LaunchTemplates"]
    for each in found:
        ec2.delete_launch_template(LaunchTemplateId=each["LaunchTemplateId"])
    return [each["LaunchTemplateName"] for each in found]
