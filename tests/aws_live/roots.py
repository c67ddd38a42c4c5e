# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the strategy ``reimage`` assumes of replaced root volumes."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.replaced_root import root_volume

from .instances import described, instance
from .live import Live, equal

ENDED = ("succeeded", "failed", "failed-detached")


def replacing(live: Live) -> Iterator[str]:
    """The instance and its launch time stay, the previous volume is kept, and the new one has no tags."""
    ec2 = live.client("ec2")
    one = instance(live, f"{live.run}-root")
    live.wait("instance_running", {"instance-id": one})
    before = described(live, one)
    task = ec2.create_replace_root_volume_task(
        InstanceId=one,
        ImageId=live.ami,
        DeleteReplacedRootVolume=False,
        TagSpecifications=live.tags("replace-root-volume-task"),
    )["ReplaceRootVolumeTask"]
    yield equal("the state of the task", _end_of(live, one, task["ReplaceRootVolumeTaskId"]), "succeeded")
    after = described(live, one)
    old, new = root_volume(before), root_volume(after)
    live.afterwards(lambda: ec2.delete_volume(VolumeId=old))
    volumes = {volume["VolumeId"]: volume for volume in ec2.describe_volumes(VolumeIds=[old, new])["Volumes"]}
    yield equal("whether the root volume is the same", old == new, False)
    yield equal("the state of the previous volume", volumes[old]["State"], "available")
    yield equal("the tags of the new volume", volumes[new].get("Tags", []), [])
    yield equal("the launch time", after["LaunchTime"], before["LaunchTime"])
    yield equal("the private address", after.get("PrivateIpAddress"), before.get("PrivateIpAddress"))


def _end_of(live: Live, one: str, task: str) -> str:
    ec2, of_instance = live.client("ec2"), [{"Name": "instance-id", "Values": [one]}]

    def state() -> str:
        found = ec2.describe_replace_root_volume_tasks(Filters=of_instance)["ReplaceRootVolumeTasks"]
        states = [str(each["TaskState"]) for each in found if each["ReplaceRootVolumeTaskId"] == task]
        return states[0] if states else "not listed"

    return live.until(lambda found: found in ENDED, state)
