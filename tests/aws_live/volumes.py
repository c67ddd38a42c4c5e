# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of volumes and snapshots, with empty volumes of one and two GiB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .live import Live, equal, refused


def creating(live: Live) -> Iterator[str]:
    """A volume is creating first. Then it is available."""
    made = _volume(live)
    yield equal("the state of a new volume", made["State"], "creating")
    live.wait("volume_available", {"volume-id": made["VolumeId"]})


def detaching(live: Live) -> Iterator[str]:
    one = ready_volume(live)
    yield refused(live.client("ec2").detach_volume, "IncorrectState", VolumeId=one)


def modifying(live: Live) -> Iterator[str]:
    """A volume only grows, and not while a modification is in progress."""
    ec2, one = live.client("ec2"), ready_volume(live, size=2)
    yield refused(ec2.modify_volume, "InvalidParameterValue", VolumeId=one, Size=1)
    state = ec2.modify_volume(VolumeId=one, Size=3)["VolumeModification"]["ModificationState"]
    yield equal("the state of a new modification", state, "modifying")
    yield refused(ec2.modify_volume, "IncorrectModificationState", VolumeId=one, Size=4)


def volume_types(live: Live) -> Iterator[str]:
    call, zone = live.client("ec2").create_volume, _zone(live)
    tags = live.tags("volume")
    yield refused(
        call, "InvalidParameterValue", Size=1, VolumeType="st1", AvailabilityZone=zone, TagSpecifications=tags
    )


def snapshots(live: Live) -> Iterator[str]:
    """A snapshot is pending first. Then its blocks are listed."""
    ec2 = live.client("ec2")
    made = ec2.create_snapshot(VolumeId=ready_volume(live), TagSpecifications=live.tags("snapshot"))
    one = str(made["SnapshotId"])
    live.afterwards(lambda: ec2.delete_snapshot(SnapshotId=one))
    yield equal("the state of a new snapshot", made["State"], "pending")
    live.wait("snapshot_completed", {"snapshot-id": one})
    listed = live.client("ebs").list_snapshot_blocks(SnapshotId=one)
    yield equal("the size of a block", listed["BlockSize"], 512 * 1024)
    yield equal("the size of the volume", listed["VolumeSize"], 1)


def _volume(live: Live, size: int = 1, **more: Any) -> dict[str, Any]:
    """A new volume as EC2 describes it. It is deleted after the check."""
    ec2 = live.client("ec2")
    made: dict[str, Any] = ec2.create_volume(
        Size=size, VolumeType="gp3", AvailabilityZone=_zone(live), TagSpecifications=live.tags("volume"), **more
    )
    live.afterwards(lambda: ec2.delete_volume(VolumeId=made["VolumeId"]))
    return made


def ready_volume(live: Live, size: int = 1, **more: Any) -> str:
    """The id of a new volume that is available."""
    one = str(_volume(live, size, **more)["VolumeId"])
    live.wait("volume_available", {"volume-id": one})
    return one


def _zone(live: Live) -> str:
    zones = live.client("ec2").describe_availability_zones()["AvailabilityZones"]
    return str(next(zone["ZoneName"] for zone in zones if zone["State"] == "available"))
