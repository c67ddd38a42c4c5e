# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed bakes left on AWS.

A bake tags all that it makes with its store and its lock's name. Not every Packer tags its temporary security groups and key pairs of templates: those are
told by the name that Packer gives them, in which the time stands, and only where nothing uses them and they are a day old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..._aws.amis import snapshots_of
from ..._aws.batches import FILTER, batches
from ..._aws.clients import Clients, aws_errors
from ..._image_model import amis_of
from ..contract import Leftover, LeftoverKind
from .describe import ALIVE
from .image_users import delete_snapshot, image_users, remove_image, went
from .tags import BAKE_KEY, STORE_KEY

INSTANCE: Final = "build_instance"
GROUP: Final = "security_group"
KEY: Final = "key_pair"
VOLUME: Final = "build_volume"
IMAGE: Final = "image"
SNAPSHOT: Final = "snapshot"
ORDER: tuple[LeftoverKind, ...] = (INSTANCE, GROUP, KEY, VOLUME, IMAGE, SNAPSHOT)  # in which they can go
UNTAGGED = 86400.0  # seconds that a thing without tags must be old
_BAKE = re.compile(r"bake-[0-9a-f]{12}")
_PACKER = re.compile(
    r"packer_([0-9a-f]{8})-[0-9a-f-]{27}"
)  # the first part is when it was made, in seconds since the epoch


class Ec2Leftovers:
    """See ``providers.base.Leftovers``.

    Args:
        places: clients in each region that is looked at.
        store: the store's identity.
    """

    def __init__(self, places: Sequence[Clients], store: str, now: Callable[[], float] = time.time) -> None:
        self._places = {each.region: each for each in places}
        self._filters = [{"Name": f"tag:{STORE_KEY}", "Values": [store]}, {"Name": "tag-key", "Values": [BAKE_KEY]}]
        self._now = now

    def find(self, older_than: float, owned: Sequence[Mapping[str, Any]]) -> list[Leftover]:
        found = []
        for region, clients in self._places.items():
            known = {amis_of(each)[region] for each in owned if region in amis_of(each)} | {
                str(each["name"]) for each in owned if "name" in each
            }
            with aws_errors(doing=f"looking in {region} for what bakes left"):
                found += [each for each in self._of(clients, known) if each.age is None or each.age >= older_than]
        return sorted(found, key=lambda each: (ORDER.index(each.kind), each.place, each.id))

    def remove(self, found: Sequence[Leftover], check: Callable[[], None]) -> list[Leftover]:
        gone = []
        for region, clients in self._places.items():
            here = sorted((each for each in found if each.place == region), key=lambda each: ORDER.index(each.kind))
            instances = [each for each in here if each.kind == INSTANCE]
            if instances:
                check()
                gone += _terminate(clients.ec2, instances)
            for each in here[len(instances) :]:
                check()
                gone += [each] if _remove(clients, each) else []
        return gone

    def _of(self, clients: Clients, known: set[str]) -> Iterator[Leftover]:
        ec2 = clients.ec2
        staying = [state for state in ALIVE if state != "shutting-down"]
        for reservation in _pages(
            ec2,
            "describe_instances",
            "Reservations",
            Filters=[*self._filters, {"Name": "instance-state-name", "Values": staying}],
        ):
            for each in reservation["Instances"]:
                yield from self._tagged(
                    clients, INSTANCE, each["InstanceId"], each, each["LaunchTime"], "a bake ended without it"
                )
        free = [*self._filters, {"Name": "status", "Values": ["available"]}]
        for volume in _pages(ec2, "describe_volumes", "Volumes", Filters=free):
            yield from self._tagged(
                clients, VOLUME, volume["VolumeId"], volume, volume["CreateTime"], "a bake ended without it"
            )
        for key in ec2.describe_key_pairs(Filters=self._filters)["KeyPairs"]:
            yield from self._tagged(clients, KEY, key["KeyName"], key, key.get("CreateTime"), "a bake ended without it")
        yield from self._images(clients, known)
        yield from self._temporary(clients)

    def _images(self, clients: Clients, known: set[str]) -> Iterator[Leftover]:
        """What no record names. An AMI with the name of one on record is a copy of it that is put on record once all are made.

        What something refers to stays, whoever made it known, and so do the snapshots of whatever AMI there is.
        """
        ec2, region = clients.ec2, clients.region
        images = list(_pages(ec2, "describe_images", "Images", Owners=["self"], Filters=self._filters))
        strays = [image for image in images if not known & {image["ImageId"], image["Name"]}]
        users = (
            image_users(clients, [{"ami": image["ImageId"], "region": region} for image in strays]) if strays else []
        )
        for image, used in zip(strays, users, strict=True):
            if not used:
                yield from self._tagged(
                    clients, IMAGE, image["ImageId"], image, image["CreationDate"], "no record names it"
                )
        snapshots = list(_pages(ec2, "describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=self._filters))
        held = {snapshot for image in images for snapshot in snapshots_of(image)}
        loose = [each for each in snapshots if each["SnapshotId"] not in held]
        held = _held_snapshots(ec2) if loose else held
        for each in loose:
            if each["SnapshotId"] not in held:
                yield from self._tagged(
                    clients, SNAPSHOT, each["SnapshotId"], each, each["StartTime"], "its AMI is gone"
                )

    def _tagged(
        self, clients: Clients, kind: LeftoverKind, which: str, described_as: Mapping[str, Any], made: Any, why: str
    ) -> Iterator[Leftover]:
        bake = {tag["Key"]: tag["Value"] for tag in described_as.get("Tags", ())}.get(BAKE_KEY, "")
        if _BAKE.fullmatch(bake):
            yield Leftover(
                kind, which, clients.region, bake, why, None if made is None else self._now() - _seconds(made)
            )

    def _temporary(self, clients: Clients) -> Iterator[Leftover]:
        """What Packer made for one build, whoever ran it."""
        ec2 = clients.ec2
        groups = {
            each["GroupId"]: each["GroupName"] for each in _pages(ec2, "describe_security_groups", "SecurityGroups")
        }
        groups = {which: name for which, name in groups.items() if self._old(name)}
        keys = [each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"] if self._old(each["KeyName"])]
        busy = set()
        for chosen in _parts("group-id", list(groups)):
            for interface in _pages(ec2, "describe_network_interfaces", "NetworkInterfaces", Filters=[chosen]):
                busy |= {group["GroupId"] for group in interface["Groups"]}
        for chosen in _parts("key-name", keys):
            for reservation in _pages(
                ec2,
                "describe_instances",
                "Reservations",
                Filters=[chosen, {"Name": "instance-state-name", "Values": list(ALIVE)}],
            ):
                busy |= {instance["KeyName"] for instance in reservation["Instances"]}
        why = "a Packer that is gone made it, and nothing uses it"
        for which in groups.keys() - busy:
            yield Leftover(GROUP, which, clients.region, "", why, self._age(groups[which]))
        for name in set(keys) - busy:
            yield Leftover(KEY, name, clients.region, "", why, self._age(name))

    def _old(self, name: str) -> bool:
        return _PACKER.fullmatch(name) is not None and self._age(name) >= UNTAGGED

    def _age(self, name: str) -> float:
        return self._now() - int(name.partition("_")[2][:8], 16)


def _remove(clients: Clients, each: Leftover) -> bool:
    ec2 = clients.ec2
    if each.kind == GROUP:
        return went(
            ec2.delete_security_group,
            ("InvalidGroup.NotFound", "InvalidGroup.InUse", "DependencyViolation"),
            GroupId=each.id,
        )
    if each.kind == KEY:
        return went(ec2.delete_key_pair, ("InvalidKeyPair.NotFound",), KeyName=each.id)
    if each.kind == VOLUME:
        return went(ec2.delete_volume, ("InvalidVolume.NotFound", "VolumeInUse"), VolumeId=each.id)
    if each.kind == SNAPSHOT:
        return delete_snapshot(ec2, each.id)
    remove_image(clients, {"ami": each.id, "region": each.place})
    return True


def _terminate(ec2: Any, instances: Sequence[Leftover]) -> list[Leftover]:
    """Returns when they are gone, with what goes with them."""
    ids = [each.id for each in instances]
    with aws_errors(doing=f"removing {', '.join(ids)}"):
        ec2.terminate_instances(InstanceIds=ids)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=ids)
    return list(instances)


def _held_snapshots(ec2: Any) -> set[str]:
    """Those that an AMI of ours is made of, whatever its tags are now."""
    images = _pages(ec2, "describe_images", "Images", Owners=["self"], IncludeDeprecated=True, IncludeDisabled=True)
    return {snapshot for image in images for snapshot in snapshots_of(image)}


def _parts(name: str, values: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Filters of as many values as AWS takes."""
    for part in batches(values, FILTER):
        yield {"Name": name, "Values": part}


def _pages(ec2: Any, call: str, member: str, **asked: Any) -> Iterator[Mapping[str, Any]]:
    for page in ec2.get_paginator(call).paginate(**asked):
        yield from page[member]


def _seconds(made: datetime | str) -> float:
    return (datetime.fromisoformat(made.replace("Z", "+00:00")) if isinstance(made, str) else made).timestamp()
