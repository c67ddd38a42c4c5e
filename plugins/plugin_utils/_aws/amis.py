# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calls for one AMI that several rooms need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.errors import ProviderError
from .clients import aws_errors


def find_ami(ec2: Any, ami: str) -> Mapping[str, Any] | None:
    """The AMI as EC2 describes it, or None if it does not exist. Raises ProviderError."""
    with aws_errors(doing=f"reading {ami}"):
        # By a filter: with an id, a missing AMI would be an error.
        found = ec2.describe_images(Filters=[{"Name": "image-id", "Values": [ami]}])["Images"]
    return found[0] if found else None


def snapshots_of(image: Mapping[str, Any]) -> list[str]:
    """Ids of the snapshots that an AMI consists of."""
    return [
        disk["Ebs"]["SnapshotId"]
        for disk in image.get("BlockDeviceMappings", ())
        if disk.get("Ebs", {}).get("SnapshotId")
    ]


def root_snapshot(image: Mapping[str, Any]) -> str:
    """Id of the snapshot of an AMI's root device. Raises ProviderError if it has none."""
    for disk in image.get("BlockDeviceMappings", ()):
        if disk.get("DeviceName") == image.get("RootDeviceName") and disk.get("Ebs", {}).get("SnapshotId"):
            return str(disk["Ebs"]["SnapshotId"])
    raise ProviderError(f"{image['ImageId']} has no snapshot for its root device {image.get('RootDeviceName')}")


def require_imdsv2(ec2: Any, image: Mapping[str, Any]) -> None:
    """Let all instances of an AMI use IMDSv2 only, in every account. Raises ProviderError."""
    if image.get("ImdsSupport") != "v2.0":
        with aws_errors(doing=f"allowing IMDSv2 only for {image['ImageId']}"):
            ec2.modify_image_attribute(ImageId=image["ImageId"], ImdsSupport={"Value": "v2.0"})


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags by key as AWS's list of tags."""
    return [{"Key": name, "Value": value} for name, value in sorted(tags.items())]
