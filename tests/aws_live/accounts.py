# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of what one account shares with another, with an empty snapshot of one GiB. Nothing becomes shared."""

from __future__ import annotations

from collections.abc import Iterator

from .live import Live, refused
from .volumes import ready_volume

DEFAULT_KEY = "alias/aws/ebs"


def default_key(live: Live) -> Iterator[str]:
    """A snapshot that is encrypted with the account's default key cannot be shared."""
    ec2 = live.client("ec2")
    volume = ready_volume(live, Encrypted=True, KmsKeyId=DEFAULT_KEY)
    one = str(ec2.create_snapshot(VolumeId=volume, TagSpecifications=live.tags("snapshot"))["SnapshotId"])
    live.afterwards(lambda: ec2.delete_snapshot(SnapshotId=one))
    live.wait("snapshot_completed", {"snapshot-id": one})
    share = {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": [live.account]}
    yield refused(ec2.modify_snapshot_attribute, "OperationNotPermitted", SnapshotId=one, **share)
