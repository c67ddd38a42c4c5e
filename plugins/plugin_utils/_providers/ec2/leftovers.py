# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed bakes left on AWS.

A bake tags everything that it creates with its store and the name of its lock. Only these tags prove that something is
a leftover: old versions of Packer do not tag their temporary security groups, and a name proves nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..._aws.amis import snapshots_of
from ..._aws.batches import MAX_FILTER_VALUES, batches
from ..._aws.clients import Clients, aws_errors
from ..._image_model import amis_of
from ..bake_leftovers import Leftover, LeftoverKind
from .describe import ALIVE
from .image_users import delete_snapshot, image_users, remove_image, removed
from .tags import BAKE_KEY, STORE_KEY

INSTANCE: Final = "build_instance"
GROUP: Final = "security_group"
KEY: Final = "key_pair"
VOLUME: Final = "build_volume"
IMAGE: Final = "image"
SNAPSHOT: Final = "snapshot"
REMOVAL_ORDER: tuple[LeftoverKind, ...] = (INSTANCE, GROUP, KEY, VOLUME, IMAGE, SNAPSHOT)
_BAKE = re.compile(r"bake-[0-9a-f]{12}")


class Ec2Leftovers:
    """See ``contract.Leftovers``.

    Args:
        places: clients in each region to search.
        store: the store's identity.
    """

    def __init__(self, places: Sequence[Clients], store: str, now: Callable[[], float] = time.time) -> None:
        self._places = {clients.region: clients for clients in places}
        self._filters = [{"Name": f"tag:{STORE_KEY}", "Values": [store]}, {"Name": "tag-key", "Values": [BAKE_KEY]}]
        self._store = store
        self._now = now

    def find(self, older_than: float, owned: Sequence[Mapping[str, Any]]) -> list[Leftover]:
        found = []
        for region, clients in self._places.items():
            known = {amis_of(artifact)[region] for artifact in owned if region in amis_of(artifact)}
            known |= {str(artifact["name"]) for artifact in owned if "name" in artifact}
            with aws_errors(doing=f"searching {region} for leftovers of bakes"):
                leftovers = list(self._leftovers(clients, known))
            found += [leftover for leftover in leftovers if leftover.age is None or leftover.age >= older_than]
        return sorted(found, key=lambda leftover: (_order(leftover), leftover.place, leftover.id))

    def remove(self, leftovers: Sequence[Leftover], check: Callable[[], None]) -> list[Leftover]:
        done = []
        for region, clients in self._places.items():
            here = sorted((leftover for leftover in leftovers if leftover.place == region), key=_order)
            instances = [leftover for leftover in here if leftover.kind == INSTANCE]
            if instances:
                check()
                done += _terminate(clients.ec2, instances)
            for leftover in here[len(instances) :]:
                check()
                done += [leftover] if _remove(clients, leftover, self._store) else []
        return done

    def _leftovers(self, clients: Clients, known: set[str]) -> Iterator[Leftover]:
        """``known``: ids and names of AMIs on record."""
        ec2, why = clients.ec2, "a bake ended without it"
        alive = {"Name": "instance-state-name", "Values": [state for state in ALIVE if state != "shutting-down"]}
        for reservation in _pages(ec2, "describe_instances", "Reservations", Filters=[*self._filters, alive]):
            for instance in reservation["Instances"]:
                yield from self._tagged(
                    clients, INSTANCE, instance["InstanceId"], instance, created=instance["LaunchTime"], why=why
                )
        unattached = {"Name": "status", "Values": ["available"]}
        for volume in _pages(ec2, "describe_volumes", "Volumes", Filters=[*self._filters, unattached]):
            yield from self._tagged(clients, VOLUME, volume["VolumeId"], volume, created=volume["CreateTime"], why=why)
        for key in ec2.describe_key_pairs(Filters=self._filters)["KeyPairs"]:
            yield from self._tagged(clients, KEY, key["KeyName"], key, created=key.get("CreateTime"), why=why)
        yield from self._images(clients, known)
        yield from self._groups(clients, why)

    def _groups(self, clients: Clients, why: str) -> Iterator[Leftover]:
        """Security groups that no network interface uses. Their age is unknown."""
        ec2 = clients.ec2
        groups = list(_pages(ec2, "describe_security_groups", "SecurityGroups", Filters=self._filters))
        used = {
            group["GroupId"]
            for chosen in _filters("group-id", [group["GroupId"] for group in groups])
            for interface in _pages(ec2, "describe_network_interfaces", "NetworkInterfaces", Filters=[chosen])
            for group in interface["Groups"]
        }
        for group in groups:
            if group["GroupId"] not in used:
                yield from self._tagged(clients, GROUP, group["GroupId"], group, created=None, why=why)

    def _images(self, clients: Clients, known: set[str]) -> Iterator[Leftover]:
        """AMIs and snapshots that no record names.

        An AMI with the same name as one on record is a copy of it: it is put on record once all copies are complete.
        An AMI that something refers to stays, and so do the snapshots of every existing AMI.
        """
        ec2, region = clients.ec2, clients.region
        images = list(_pages(ec2, "describe_images", "Images", Owners=["self"], Filters=self._filters))
        strays = [image for image in images if not known & {image["ImageId"], image["Name"]}]
        artifacts = [{"ami": image["ImageId"], "region": region} for image in strays]
        users = image_users(clients, artifacts) if strays else []
        for image, used_by in zip(strays, users, strict=True):
            if not used_by:
                yield from self._tagged(
                    clients, IMAGE, image["ImageId"], image, created=image["CreationDate"], why="no record names it"
                )
        snapshots = list(_pages(ec2, "describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=self._filters))
        used = {snapshot for image in images for snapshot in snapshots_of(image)}
        if any(snapshot["SnapshotId"] not in used for snapshot in snapshots):
            used |= _used_snapshots(ec2)
        for snapshot in snapshots:
            if snapshot["SnapshotId"] not in used:
                yield from self._tagged(
                    clients,
                    SNAPSHOT,
                    snapshot["SnapshotId"],
                    snapshot,
                    created=snapshot["StartTime"],
                    why="its AMI is removed",
                )

    def _tagged(
        self,
        clients: Clients,
        kind: LeftoverKind,
        key: str,
        described: Mapping[str, Any],
        *,
        created: datetime | str | None,
        why: str,
    ) -> Iterator[Leftover]:
        """A leftover, if its tags name a bake."""
        bake = {tag["Key"]: tag["Value"] for tag in described.get("Tags", ())}.get(BAKE_KEY, "")
        if _BAKE.fullmatch(bake):
            age = None if created is None else self._now() - _seconds(created)
            yield Leftover(kind=kind, id=key, place=clients.region, bake=bake, why=why, age=age)


def _order(leftover: Leftover) -> int:
    return REMOVAL_ORDER.index(leftover.kind)


def _remove(clients: Clients, leftover: Leftover, store: str) -> bool:
    """Whether it is removed now, and was not before."""
    ec2 = clients.ec2
    if leftover.kind == GROUP:
        return removed(
            ec2.delete_security_group,
            ("InvalidGroup.NotFound", "InvalidGroup.InUse", "DependencyViolation"),
            GroupId=leftover.id,
        )
    if leftover.kind == KEY:
        return removed(ec2.delete_key_pair, ("InvalidKeyPair.NotFound",), KeyName=leftover.id)
    if leftover.kind == VOLUME:
        return removed(ec2.delete_volume, ("InvalidVolume.NotFound", "VolumeInUse"), VolumeId=leftover.id)
    if leftover.kind == SNAPSHOT:
        return delete_snapshot(ec2, leftover.id)
    remove_image(clients, {"ami": leftover.id, "region": leftover.place}, store)
    return True


def _terminate(ec2: Any, instances: Sequence[Leftover]) -> list[Leftover]:
    """Returns when the instances are terminated, with the volumes that are deleted on termination."""
    ids = [instance.id for instance in instances]
    with aws_errors(doing=f"removing {', '.join(ids)}"):
        ec2.terminate_instances(InstanceIds=ids)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=ids)
    return list(instances)


def _used_snapshots(ec2: Any) -> set[str]:
    """Snapshots of all AMIs of the account, whatever their tags are."""
    images = _pages(ec2, "describe_images", "Images", Owners=["self"], IncludeDeprecated=True, IncludeDisabled=True)
    return {snapshot for image in images for snapshot in snapshots_of(image)}


def _filters(name: str, values: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Filters of as many values as AWS accepts."""
    for part in batches(values, MAX_FILTER_VALUES):
        yield {"Name": name, "Values": part}


def _pages(ec2: Any, call: str, key: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
    for page in ec2.get_paginator(call).paginate(**parameters):
        yield from page[key]


def _seconds(at: datetime | str) -> float:
    return (datetime.fromisoformat(at.replace("Z", "+00:00")) if isinstance(at, str) else at).timestamp()
