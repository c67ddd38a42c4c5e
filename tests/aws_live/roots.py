# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the strategy ``reimage`` assumes of replaced root volumes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .instances import instance
from .live import PATIENCE, Live, equal

ENDED = ("succeeded", "failed", "failed-detached")


def replacing(live: Live) -> Iterator[str]:
    """The instance and its launch time stay, the previous volume is kept, and the new one has no tags."""
    ec2 = live.client("ec2")
    one = instance(live, f"{live.run}-root")
    live.wait("instance_running", {"instance-id": one})
    before = _described(live, one)
    task = ec2.create_replace_root_volume_task(
        InstanceId=one,
        ImageId=live.ami,
        DeleteReplacedRootVolume=False,
        TagSpecifications=live.tags("replace-root-volume-task"),
    )["ReplaceRootVolumeTask"]
    yield equal("the state of the task", _end_of(live, one, task["ReplaceRootVolumeTaskId"]), "succeeded")
    after = _described(live, one)
    old, new = _root(before), _root(after)
    live.afterwards(lambda: ec2.delete_volume(VolumeId=old))
    volumes = {volume["VolumeId"]: volume for volume in ec2.describe_volumes(VolumeIds=[old, new])["Volumes"]}
    yield equal("whether the root volume is the same", old == new, False)
    yield equal("the state of the previous volume", volumes[old]["State"], "available")
    yield equal("the tags of the new volume", volumes[new].get("Tags", []), [])
    yield equal("the launch time", after["LaunchTime"], before["LaunchTime"])
    yield equal("the private address", after.get("PrivateIpAddress"), before.get("PrivateIpAddress"))


def _end_of(live: Live, one: str, task: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = live.client("ec2").describe_replace_root_volume_tasks(
            Filters=[{"Name": "instance-id", "Values": [one]}]
        )["ReplaceRootVolumeTasks"]
        state = next(
            (str(each["TaskState"]) for each in found if each["ReplaceRootVolumeTaskId"] == task), "not listed"
        )
        if state in ENDED or time.monotonic() > deadline:
            return state
        time.sleep(live.poll)


def _described(live: Live, one: str) -> dict[str, Any]:
    (page,) = live.client("ec2").describe_instances(InstanceIds=[one])["Reservations"]
    return dict(page["Instances"][0])


def _root(described: dict[str, Any]) -> str:
    device = described["RootDeviceName"]
    return next(
        str(disk["Ebs"]["VolumeId"]) for disk in described["BlockDeviceMappings"] if disk["DeviceName"] == device
    )
