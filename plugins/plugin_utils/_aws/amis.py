# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One machine image of EC2, for those who make it and those who hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .clients import aws_errors


def look(ec2: Any, ami: str) -> Mapping[str, Any] | None:
    """The AMI as EC2 describes it, None where there is none. Raises ProviderError."""
    with aws_errors(doing=f"looking at {ami}"):
        # By a filter: asked for by its id, one that is gone would be an error.
        found = ec2.describe_images(Filters=[{"Name": "image-id", "Values": [ami]}])["Images"]
    return found[0] if found else None


def snapshots_of(image: Mapping[str, Any]) -> list[str]:
    return [
        disk["Ebs"]["SnapshotId"]
        for disk in image.get("BlockDeviceMappings", ())
        if disk.get("Ebs", {}).get("SnapshotId")
    ]


def harden(ec2: Any, image: Mapping[str, Any]) -> None:
    """Whatever is launched from it, also by others, asks the metadata service by tokens (IMDSv2) only. Raises ProviderError."""
    if image.get("ImdsSupport") != "v2.0":
        with aws_errors(doing=f"allowing IMDSv2 only for {image['ImageId']}"):
            ec2.modify_image_attribute(ImageId=image["ImageId"], ImdsSupport={"Value": "v2.0"})


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in sorted(tags.items())]
