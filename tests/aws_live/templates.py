# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of launch templates, which cost nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from .live import MARK, Live, equal, refused

LARGEST = 16 * 1024  # bytes of user data, before base64


def versions(live: Live) -> Iterator[str]:
    """User data has a limit, and a version inherits what it does not set."""
    ec2, name = live.client("ec2"), f"{MARK}-{live.run}"
    large = base64.b64encode(b"x" * (LARGEST + 1)).decode()
    yield refused(
        ec2.create_launch_template,
        "InvalidUserData.Malformed",
        LaunchTemplateName=f"{name}-large",
        LaunchTemplateData={"UserData": large},
    )
    data = {"InstanceType": live.instance_type, "UserData": base64.b64encode(b"#!/bin/sh\n").decode()}
    made = ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=live.tags("launch-template")
    )
    one = made["LaunchTemplate"]["LaunchTemplateId"]
    live.afterwards(lambda: ec2.delete_launch_template(LaunchTemplateId=one))
    changed = {"InstanceType": "t3.micro"}
    ec2.create_launch_template_version(LaunchTemplateId=one, SourceVersion="1", LaunchTemplateData=changed)
    [found] = ec2.describe_launch_template_versions(LaunchTemplateId=one, Versions=["2"])["LaunchTemplateVersions"]
    kept = {key: found["LaunchTemplateData"].get(key) for key in data}
    yield equal("what a version with another type has", kept, {**data, **changed})
