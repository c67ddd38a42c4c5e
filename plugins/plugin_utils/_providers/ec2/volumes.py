# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes of EBS, one for each slot and name. What they are is in their tags."""

from __future__ import annotations

import builtins
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._aws.batches import FILTER, batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError
from ..._store.base import Store
from .. import tags as tag_names
from ..contract import LaunchRequest, Volume, VolumeRequest
from .describe import PAGES, VOLUME_STATES, volume_of
from .run_instances import GIB, Scope, gib
from .tags import FLEET_KEY, STORE_KEY, VOLUME_KEY, to_aws

DEFAULT_KIND = "gp3"
DEVICES = [f"/dev/sd{letter}" for letter in "fghijklmnop"]  # those that AWS recommends for data
UNSEEN = 60.0  # seconds for which a creation that no list shows yet is believed
REPLAYED = 60.0  # seconds: a volume that a creation calls older than this is of an earlier call with the same token
LOOK_AGAIN = 2.0
GROWS = ("modifying",)  # states of a modification in which the volume is not yet what it shall be
PATIENCE = 540.0  # seconds for a modification
SOON = {"Delay": 1, "MaxAttempts": 20}  # of a waiter; what takes longer is tried again
IOPS, IO1_IOPS = 3000, 50  # of io1 and io2, as of gp3 by itself; and what io1 takes for each GiB at most


class Ec2Volumes:
    def __init__(self, clients: Clients, scope: Scope, store: Store, snapshots: bool = False) -> None:
        self._clients = clients
        self._scope = scope
        self._store = store
        self._snapshots = snapshots
        self._fresh: dict[
            str, tuple[Volume, float]
        ] = {}  # by id: made by this process, in no list yet, and when it was made (monotonic)

    def list(self, fleet: str) -> list[Volume]:
        """Always asked anew: another run may have made some, and whoever needs to know less often asks less often."""
        found, now = list(self._list({"Name": f"tag:{FLEET_KEY}", "Values": [fleet]})), time.monotonic()
        seen = {each.id for each in found}
        self._fresh = {key: fresh for key, fresh in self._fresh.items() if key not in seen and now - fresh[1] < UNSEEN}
        return [*found, *(volume for volume, _at in self._fresh.values() if volume.fleet == fleet)]

    def fleets(self) -> Sequence[str]:
        return sorted({volume.fleet for volume in self._list()})

    def by_slot(self, requests: Sequence[LaunchRequest]) -> Mapping[int, Sequence[Volume]]:
        """By slot, the volumes that a new instance there will have."""
        if not any(request.volumes or request.tags.get(tag_names.VOLUMES) for request in requests):
            return {}
        found: dict[int, builtins.list[Volume]] = {}
        for volume in sorted(self.list(requests[0].fleet), key=lambda each: each.name):
            found.setdefault(volume.slot, []).append(volume)
        return found

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        if not requests:
            return []
        fleet = requests[0].fleet
        present = {(each.slot, each.name): each for each in self.list(fleet)}
        homes = {slot: each.zone for (slot, _name), each in present.items()}  # a slot's volumes are all in one zone
        missing = [
            replace(each, zone=homes.get(each.slot, each.zone))
            for each in requests
            if (each.slot, each.name) not in present
        ]
        made = self._made(missing, self._removals(fleet)) if missing else {}
        return [{**present, **made}[each.slot, each.name] for each in requests]

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        """Returns when they are there."""
        volumes = self._described(volume_ids)
        elsewhere = [
            f"{key} is attached to {each.attached_to}"
            for key, each in volumes.items()
            if each.attached_to not in (None, instance_id)
        ]
        if elsewhere:
            raise ProviderError(f"cannot attach to {instance_id}: {', '.join(elsewhere)}")
        due = [each for each in volume_ids if volumes[each].attached_to is None]
        if due:
            taken = self._devices(instance_id)
            free = iter([each for each in DEVICES if each not in taken])
            for volume_id in due:
                device = next(free, None)
                if device is None:
                    raise ProviderError(
                        f"{instance_id} has no device left for {volume_id} (allowed: {len(DEVICES)} volumes)"
                    )
                with aws_errors(doing=f"attaching {volume_id} to {instance_id}"):
                    self._clients.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
        if volume_ids:
            with aws_errors(doing=f"attaching volumes to {instance_id}"):
                self._clients.ec2.get_waiter("volume_in_use").wait(VolumeIds=list(volume_ids), WaiterConfig=SOON)

    def detach(self, volume_ids: Sequence[str]) -> None:
        """Returns when they are free."""
        volumes = self._described(volume_ids)
        held = {key: each.attached_to for key, each in volumes.items() if each.attached_to}
        if not held:
            return
        states = self._states(set(held.values()))
        free = ("stopped", "terminated", "gone")
        busy = [
            f"{volume} belongs to {holder}, which is {states[holder]}"
            for volume, holder in held.items()
            if states.get(holder, "gone") not in free
        ]
        if busy:
            raise ProviderError(f"cannot detach: {', '.join(busy)} (allowed: stopped)")
        for volume_id, holder in held.items():
            if self._snapshots:
                self._keep(volumes[volume_id])
            with aws_errors(doing=f"detaching {volume_id} from {holder}"):
                self._clients.ec2.detach_volume(VolumeId=volume_id, InstanceId=holder)
        with aws_errors(doing="detaching volumes"):
            self._clients.ec2.get_waiter("volume_available").wait(VolumeIds=list(held), WaiterConfig=SOON)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str) -> None:
        """Returns when each has its new size and type. EBS goes on to optimize them, for hours perhaps, while they can be used."""
        volumes = self._described(volume_ids)
        wanted: dict[str, dict[str, Any]] = {}
        for key, volume in volumes.items():
            if size < volume.size:
                raise ProviderError(f"{key} has {volume.size // GIB} GiB and cannot shrink to {gib(size)} GiB")
            change: dict[str, Any] = {}
            if gib(size) > volume.size // GIB:
                change["Size"] = gib(size)
            if kind and kind != volume.kind:
                change.update(VolumeType=kind, **_provisioned(kind, max(gib(size), volume.size // GIB)))
            if change:
                wanted[key] = change
        for key, change in wanted.items():
            self._modify(key, change)
        self._settle(wanted)

    def remove(self, volume_ids: Sequence[str]) -> None:
        volumes = self._described(volume_ids, missing=True)
        for fleet in {volume.fleet for volume in volumes.values()}:
            # Before the call: a token that made a volume is of no use once that is gone.
            self._store.write(_key(fleet), {"removals": self._removals(fleet) + 1})
        for volume_id in volumes:
            self._fresh.pop(volume_id, None)
            try:
                with aws_errors(doing=f"removing {volume_id}"):
                    self._clients.ec2.delete_volume(VolumeId=volume_id)
            except ProviderError as error:
                if error.code != "InvalidVolume.NotFound":
                    raise

    def _list(self, *filters: dict[str, Any]) -> Sequence[Volume]:
        asked = [
            {"Name": f"tag:{STORE_KEY}", "Values": [self._scope.store]},
            {"Name": "tag-key", "Values": [VOLUME_KEY]},
            *filters,
        ]
        return [
            each
            for each in map(
                volume_of, self._describe(Filters=[*asked, {"Name": "status", "Values": list(VOLUME_STATES)}])
            )
            if each
        ]

    def _describe(self, **asked: Any) -> Sequence[dict[str, Any]]:
        with aws_errors(doing="looking at volumes"):
            pages = self._clients.ec2.get_paginator("describe_volumes").paginate(**asked, PaginationConfig=PAGES)
            return [volume for page in pages for volume in page["Volumes"]]

    def _described(self, volume_ids: Sequence[str], missing: bool = False) -> dict[str, Volume]:
        """By id. Raises ProviderError for one that is not there, unless that is allowed."""
        if not volume_ids:
            return {}
        described = [
            one
            for part in batches(volume_ids, FILTER)
            for one in self._describe(Filters=[{"Name": "volume-id", "Values": part}])
        ]
        found = {each.id: each for each in map(volume_of, described) if each}
        gone = [each for each in volume_ids if each not in found]
        if gone and not missing:
            raise ProviderError(f"there is no data volume {', '.join(gone)}")
        return found

    def _create(self, request: VolumeRequest, count: int) -> tuple[Volume, bool]:
        """The volume, and whether an earlier call made it."""
        if not request.zone:
            raise ProviderError(f"a volume of {request.fleet} needs a zone (allowed: network.subnets)")
        tags = self._tags(request)
        kind = request.kind or DEFAULT_KIND
        parts = (
            self._scope.store,
            request.fleet,
            str(request.slot),
            request.name,
            str(gib(request.size)),
            kind,
            request.zone,
            str(count),
        )
        with aws_errors(doing=f"creating volume {request.name} of slot {request.slot}"):
            made = self._clients.ec2.create_volume(
                AvailabilityZone=request.zone,
                Size=gib(request.size),
                VolumeType=kind,
                **_provisioned(kind, gib(request.size)),
                Encrypted=True,
                ClientToken=hashlib.sha256("\0".join(parts).encode()).hexdigest(),
                TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
            )
        volume = volume_of({**made, "Tags": tags, "Attachments": []})
        if volume is None:
            raise AssertionError(made)
        return volume, time.time() - made["CreateTime"].timestamp() > REPLAYED

    def _made(self, requests: Sequence[VolumeRequest], count: int) -> dict[tuple[int, str], Volume]:
        """A token whose volume somebody removed past us is answered with what is gone: once more then, with another one."""
        told_of = {(each.slot, each.name): self._create(each, count) for each in requests}
        old = [volume.id for volume, replayed in told_of.values() if replayed]
        gone = set(old) - set(self._described(old, missing=True))
        if gone:
            self._store.write(_key(requests[0].fleet), {"removals": count + 1})
            again = [each for each in requests if told_of[each.slot, each.name][0].id in gone]
            told_of.update({(each.slot, each.name): self._create(each, count + 1) for each in again})
        made = {key: volume for key, (volume, _replayed) in told_of.items()}
        self._fresh.update({volume.id: (volume, time.monotonic()) for volume in made.values()})
        with aws_errors(doing=f"waiting for new volumes of {requests[0].fleet}"):
            self._clients.ec2.get_waiter("volume_available").wait(
                VolumeIds=[each.id for each in made.values()], WaiterConfig=SOON
            )
        return made

    def _keep(self, volume: Volume) -> None:
        """Its content is of this moment, at which nobody writes; nothing has to wait until it is copied. A run cut right here makes one more."""
        with aws_errors(doing=f"making a snapshot of {volume.id}"):
            self._clients.ec2.create_snapshot(
                VolumeId=volume.id, TagSpecifications=[{"ResourceType": "snapshot", "Tags": self._tags(volume)}]
            )

    def _tags(self, volume: Volume | VolumeRequest) -> Sequence[dict[str, str]]:
        """Of a volume and of its snapshots."""
        tags = {
            tag_names.FLEET: volume.fleet,
            tag_names.STORE: self._scope.store,
            tag_names.SLOT: str(volume.slot),
            tag_names.VOLUME: volume.name,
        }
        return [{"Key": "Name", "Value": f"{volume.fleet}-{volume.slot}-{volume.name}"}, *to_aws(tags)]

    def _removals(self, fleet: str) -> int:
        present = self._store.read(_key(fleet))
        return int(present[0]["removals"]) if present else 0

    def _devices(self, instance_id: str) -> set[str]:
        with aws_errors(doing=f"looking at {instance_id}"):
            reservations = self._clients.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        return {
            disk["DeviceName"]
            for each in reservations
            for instance in each["Instances"]
            for disk in instance.get("BlockDeviceMappings", ())
        }

    def _states(self, ids: set[str]) -> Mapping[str, str]:
        with aws_errors(doing="looking at instances"):
            pages = self._clients.ec2.get_paginator("describe_instances").paginate(
                Filters=[{"Name": "instance-id", "Values": sorted(ids)}]
            )
            return {
                each["InstanceId"]: each["State"]["Name"]
                for page in pages
                for one in page["Reservations"]
                for each in one["Instances"]
            }

    def _modify(self, volume_id: str, change: Mapping[str, Any]) -> None:
        try:
            with aws_errors(doing=f"modifying {volume_id}"):
                self._clients.ec2.modify_volume(VolumeId=volume_id, **change)
        except ProviderError as error:
            if error.code not in ("IncorrectModificationState", "VolumeModificationRateExceeded"):
                raise
            last = self._modifications([volume_id]).get(volume_id, {})
            if _is(last, change) and last["ModificationState"] in GROWS:  # by an earlier run that was cut
                return
            why = "EBS modifies a volume only after the last modification is complete, and not many times a day; run again later"
            raise ProviderError(
                f"{error.message} ({why})", code=error.code, operation=error.details["operation"]
            ) from error

    def _settle(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """There is no waiter of boto3 for it. For a while AWS may tell of no modification yet, or of an earlier one."""
        deadline = time.monotonic() + PATIENCE
        left = dict(wanted)
        while left:
            last = self._modifications(list(left))
            ours = {each: last[each] for each, change in left.items() if each in last and _is(last[each], change)}
            failed = [
                f"{key}: {each.get('StatusMessage', 'no reason told')}"
                for key, each in ours.items()
                if each["ModificationState"] == "failed"
            ]
            if failed:
                raise ProviderError(f"modifying failed: {', '.join(failed)}")
            left = {
                each: change
                for each, change in left.items()
                if each not in ours or ours[each]["ModificationState"] in GROWS
            }
            if left and time.monotonic() > deadline:
                raise ProviderError(
                    f"still being modified after {PATIENCE:g} s: {', '.join(left)} (run again: it goes on)"
                )
            if left:
                time.sleep(LOOK_AGAIN)

    def _modifications(self, volume_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The last one of each volume that had any."""
        with aws_errors(doing="looking at modifications of volumes"):
            pages = self._clients.ec2.get_paginator("describe_volumes_modifications").paginate(
                Filters=[{"Name": "volume-id", "Values": list(volume_ids)}]
            )
            return {each["VolumeId"]: each for page in pages for each in page["VolumesModifications"]}


def _is(modification: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether it is the one that was asked for."""
    return all(modification.get(f"Target{name}") == change[name] for name in ("Size", "VolumeType") if name in change)


def _provisioned(kind: str, size: int) -> dict[str, Any]:
    """The types that EBS makes only with a number of operations per second said. ``size``: GiB."""
    return {"io1": {"Iops": min(IOPS, IO1_IOPS * size)}, "io2": {"Iops": IOPS}}.get(kind, {})


def _key(fleet: str) -> str:
    return f"volumes/{fleet}.json"
