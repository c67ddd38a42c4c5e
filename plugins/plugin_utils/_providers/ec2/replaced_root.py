# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a tag says of the root volume that an instance had before it was reimaged. Pure.

EC2 changes neither the launch time nor, reliably, the image of an instance whose root volume is replaced. So a tag of
ours, written before the replacement, says what the instance is to run. It has run that since its root volume is another
one than the tag names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import tags as tag_names
from ..root_state import BUSY, FAILED, ORIGINAL, REQUESTED, RootState
from .tags import from_aws

_TEXT = re.compile(r"(i-[0-9a-f]{1,32}) (vol-[0-9a-f]{1,32}) (sha256:[0-9a-f]{1,64}) ([0-9]{1,12})")
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceRootVolumeTask.html
IN_PROGRESS = ("pending", "in-progress", "failing", "failing-detached")
FAILURES = {
    "failed": "AWS's task failed, and the instance still has its previous root volume",
    "failed-detached": "AWS's task failed, and the instance has no root volume",
}


@dataclass(frozen=True)
class ReplacedRoot:
    instance: str
    volume: str
    image: str  # digest of the image that this volume boots
    at: int  # when the replacement was recorded, in seconds since the epoch

    @property
    def text(self) -> str:
        return f"{self.instance} {self.volume} {self.image} {self.at}"


def replaced_root(tags: Mapping[str, str], instance_id: str = "") -> ReplacedRoot | None:
    """What the tags of an instance or a volume say. ``instance_id``: of which a tag must be, "" for any."""
    found = _TEXT.fullmatch(tags.get(tag_names.REPLACED, ""))
    if not found or instance_id not in ("", found[1]):
        return None
    return ReplacedRoot(found[1], found[2], found[3], int(found[4]))


def root_disk(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The attachment of the instance's root volume; None if it has none, as while it is replaced."""
    root = described.get("RootDeviceName")
    mappings = described.get("BlockDeviceMappings", ())
    return next((disk["Ebs"] for disk in mappings if disk["DeviceName"] == root and "Ebs" in disk), None)


def root_volume(described: Mapping[str, Any]) -> str | None:
    """The id of the instance's root volume; None if it has none."""
    disk = root_disk(described)
    return disk["VolumeId"] if disk else None


def awaits_root(described: Mapping[str, Any]) -> bool:
    """Whether the instance still has the root volume that is to be replaced, or none at all."""
    replaced = replaced_root(from_aws(described.get("Tags", ())), described["InstanceId"])
    return replaced is not None and root_volume(described) in (None, replaced.volume)


def boot_suffix(described: Mapping[str, Any]) -> str:
    """What identifies a boot beside the launch time, which a replacement keeps; "" without one."""
    replaced = replaced_root(from_aws(described.get("Tags", ())), described["InstanceId"])
    return f"/{root_volume(described)}/{replaced.at}" if replaced and not awaits_root(described) else ""


def root_state(described: Mapping[str, Any], task: Mapping[str, Any] | None) -> RootState:
    """Args:
    task: AWS's task that replaces the root volume, if there is one.
    """
    tags, name = from_aws(described.get("Tags", ())), described["State"]["Name"]
    replaced = replaced_root(tags, described["InstanceId"])
    if replaced is None or not awaits_root(described):
        kept = replaced.image if replaced and tags.get(tag_names.KEPT_ROOT) == "true" else ""
        starts = name == "pending"
        return RootState(kept, BUSY if starts else "", "it starts" if starts else "") if kept or starts else ORIGINAL
    if name == "pending":
        return RootState(replaced.image, BUSY, "it starts")
    if name != "running":
        return RootState(replaced.image)
    if task is None:
        return RootState(replaced.image, REQUESTED)
    state = str(task.get("TaskState", ""))
    if state in FAILURES:
        return RootState(replaced.image, FAILED, f"{FAILURES[state]}: {task.get('ReplaceRootVolumeTaskId', '')}")
    return RootState(replaced.image, BUSY, "its root volume is being replaced")
