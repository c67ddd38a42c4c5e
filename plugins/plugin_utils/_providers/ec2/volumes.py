# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""EBS data volumes, one for each slot and name. Their tags say what they are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypedDict

from ..._aws.batches import MAX_FILTER_VALUES, batches
from ..._aws.clients import Clients, aws_errors
from ..._aws.ebs import DEFAULT_TYPE
from ..._aws.instances import instances_in
from ..._aws.tags import NAME_KEY
from ..._core.errors import ProviderError
from ..._core.gibibytes import GIB, gib
from ..._store.base import Store, read_as
from .. import tags as tag_names
from ..contract import LaunchRequest, Volume, VolumeRequest
from ..slot_volumes import refuse_other_holders, refuse_shrinking, volumes_by_slot
from ..volume_options import NO_OPTIONS, VolumeOptions
from .describe import PAGES, VOLUME_STATES, volume_of
from .modifications import Ec2VolumeModifications
from .run_instances import Scope
from .tags import FLEET_KEY, STORE_KEY, VOLUME_KEY, to_aws, with_own

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
DEVICES = [f"/dev/sd{letter}" for letter in "fghijklmnop"]
UNLISTED_SECONDS = 60.0  # for which a new volume is reported although no list shows it yet
REPLAY_AGE = 60.0  # seconds: an older volume in the answer was created by an earlier call with the same token
WAITER = {"Delay": 1, "MaxAttempts": 20}  # what takes longer is tried again
IOPS, MAX_IO1_IOPS_PER_GIB = 3000, 50  # 3000 as gp3 has by default


class _Removals(TypedDict):
    removals: int


class Ec2Volumes:
    """See ``contract.Volumes``.

    Args:
        snapshots: whether to create a snapshot of each volume that is detached.
    """

    def __init__(self, clients: Clients, scope: Scope, store: Store, snapshots: bool = False) -> None:
        self._clients = clients
        self._scope = scope
        self._store = store
        self._snapshots = snapshots
        self._modifications = Ec2VolumeModifications(clients)
        # By id: volumes that this process created and no list shows yet, with the time of creation (monotonic).
        self._unlisted: dict[str, tuple[Volume, float]] = {}

    def list(self, fleet: str) -> list[Volume]:
        """Never cached: another run may have created some."""
        listed, now = list(self._list({"Name": f"tag:{FLEET_KEY}", "Values": [fleet]})), time.monotonic()
        ids = {volume.id for volume in listed}
        self._unlisted = {
            key: (volume, at)
            for key, (volume, at) in self._unlisted.items()
            if key not in ids and now - at < UNLISTED_SECONDS
        }
        return [*listed, *(volume for volume, _at in self._unlisted.values() if volume.fleet == fleet)]

    def fleets(self) -> Sequence[str]:
        return sorted({volume.fleet for volume in self._list()})

    def by_slot(self, requests: Sequence[LaunchRequest]) -> Mapping[int, Sequence[Volume]]:
        """By slot, the volumes that a new instance there will have."""
        return volumes_by_slot(requests, self.list)

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        if not requests:
            return []
        fleet = requests[0].fleet
        present = {(volume.slot, volume.name): volume for volume in self.list(fleet)}
        zones = {slot: volume.zone for (slot, _name), volume in present.items()}  # one zone for all volumes of a slot
        missing = [
            replace(request, zone=zones.get(request.slot, request.zone))
            for request in requests
            if (request.slot, request.name) not in present
        ]
        created = self._create_all(missing, self._removals(fleet)) if missing else {}
        volumes = {**present, **created}
        return [volumes[request.slot, request.name] for request in requests]

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        """Returns when the volumes are attached."""
        volumes = self._describe_ids(volume_ids)
        refuse_other_holders(volumes.values(), instance_id)
        due = [volume_id for volume_id in volume_ids if volumes[volume_id].attached_to is None]
        if due:
            used = self._devices(instance_id)
            free = iter([device for device in DEVICES if device not in used])
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
                self._clients.ec2.get_waiter("volume_in_use").wait(VolumeIds=list(volume_ids), WaiterConfig=WAITER)

    def detach(self, volume_ids: Sequence[str]) -> None:
        """Returns when the volumes are available."""
        volumes = self._describe_ids(volume_ids)
        holders = {key: volume.attached_to for key, volume in volumes.items() if volume.attached_to}
        if not holders:
            return
        states = self._instance_states(set(holders.values()))
        busy = [
            f"{volume_id} belongs to {holder}, which is {states[holder]}"
            for volume_id, holder in holders.items()
            if states.get(holder, "terminated") not in ("stopped", "terminated")
        ]
        if busy:
            raise ProviderError(
                f"cannot detach volumes from instances that are not stopped: {', '.join(busy)} (allowed: stopped)"
            )
        for volume_id, holder in holders.items():
            if self._snapshots:
                self._create_snapshot(volumes[volume_id])
            with aws_errors(doing=f"detaching {volume_id} from {holder}"):
                self._clients.ec2.detach_volume(VolumeId=volume_id, InstanceId=holder)
        with aws_errors(doing="detaching volumes"):
            self._clients.ec2.get_waiter("volume_available").wait(VolumeIds=list(holders), WaiterConfig=WAITER)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        """Returns when each volume has its new size, type and performance.

        EBS may continue to optimize the volumes for hours. They can be used meanwhile.
        """
        changes: dict[str, dict[str, Any]] = {}
        for volume_id, volume in self._describe_ids(volume_ids).items():
            refuse_shrinking(volume, size)
            change = _change_of(volume, size, kind, options)
            if change:
                changes[volume_id] = change
        self._modifications.apply(changes)

    def remove(self, volume_ids: Sequence[str]) -> None:
        parts = batches(volume_ids, MAX_FILTER_VALUES)  # only volumes with the tag of the store
        volumes = {found.id: found for part in parts for found in self._list({"Name": "volume-id", "Values": part})}
        for fleet in {volume.fleet for volume in volumes.values()}:
            # Before the call: the token that created a volume cannot be used again once the volume is deleted.
            self._store.write(_key(fleet), {"removals": self._removals(fleet) + 1})
        for volume_id in volumes:
            self._unlisted.pop(volume_id, None)
            try:
                with aws_errors(doing=f"removing {volume_id}"):
                    self._clients.ec2.delete_volume(VolumeId=volume_id)
            except ProviderError as error:
                if error.code != "InvalidVolume.NotFound":
                    raise

    def _list(self, *filters: dict[str, Any]) -> Sequence[Volume]:
        filters = (
            {"Name": f"tag:{STORE_KEY}", "Values": [self._scope.store]},
            {"Name": "tag-key", "Values": [VOLUME_KEY]},
            *filters,
            {"Name": "status", "Values": list(VOLUME_STATES)},
        )
        volumes = map(volume_of, self._describe(Filters=list(filters)))
        return [volume for volume in volumes if volume]

    def _describe(self, **parameters: Any) -> Sequence[dict[str, Any]]:
        with aws_errors(doing="reading volumes"):
            pages = self._clients.ec2.get_paginator("describe_volumes").paginate(**parameters, PaginationConfig=PAGES)
            return [volume for page in pages for volume in page["Volumes"]]

    def _describe_ids(self, volume_ids: Sequence[str], missing_ok: bool = False) -> dict[str, Volume]:
        """Data volumes by id. Raises ProviderError if one does not exist, unless ``missing_ok``."""
        if not volume_ids:
            return {}
        described = [
            volume
            for part in batches(volume_ids, MAX_FILTER_VALUES)
            for volume in self._describe(Filters=[{"Name": "volume-id", "Values": part}])
        ]
        found = {volume.id: volume for volume in map(volume_of, described) if volume}
        missing = [volume_id for volume_id in volume_ids if volume_id not in found]
        if missing and not missing_ok:
            raise ProviderError(f"there is no data volume {', '.join(missing)}")
        return found

    def _create_all(self, requests: Sequence[VolumeRequest], removals: int) -> dict[tuple[int, str], Volume]:
        """If a volume was deleted outside this collection, its token still answers with it: repeat with a new token."""
        answers = {(request.slot, request.name): self._create(request, removals) for request in requests}
        replayed = [volume.id for volume, old in answers.values() if old]
        deleted = set(replayed) - set(self._describe_ids(replayed, missing_ok=True))
        if deleted:
            self._store.write(_key(requests[0].fleet), {"removals": removals + 1})
            again = [request for request in requests if answers[request.slot, request.name][0].id in deleted]
            answers.update({(request.slot, request.name): self._create(request, removals + 1) for request in again})
        created = {key: volume for key, (volume, _old) in answers.items()}
        self._unlisted.update({volume.id: (volume, time.monotonic()) for volume in created.values()})
        with aws_errors(doing=f"waiting for new volumes of {requests[0].fleet}"):
            self._clients.ec2.get_waiter("volume_available").wait(
                VolumeIds=[volume.id for volume in created.values()], WaiterConfig=WAITER
            )
        return created

    def _create(self, request: VolumeRequest, removals: int) -> tuple[Volume, bool]:
        """The volume, and whether an earlier call created it.

        Args:
            removals: how often volumes of the fleet were removed, which makes the token a new one each time.
        """
        if not request.zone:
            raise ProviderError(f"a volume of {request.fleet} needs a zone (allowed: network.subnets)")
        tags = [*self._tags(request), *to_aws({tag_names.BLANK: "true"})]
        kind, size = request.kind or DEFAULT_TYPE, gib(request.size)
        identity = (
            self._scope.store,
            request.fleet,
            str(request.slot),
            request.name,
            str(size),
            kind,
            request.zone,
            str(removals),
            *_later_identity(request.options, self._scope.tags),
        )
        with aws_errors(doing=f"creating volume {request.name} of slot {request.slot}"):
            answer = self._clients.ec2.create_volume(
                AvailabilityZone=request.zone,
                Size=size,
                VolumeType=kind,
                **{**_iops_of(kind, size), **_performance_of(request.options)},
                Encrypted=True,
                **({"KmsKeyId": request.options.kms_key} if request.options.kms_key else {}),
                ClientToken=hashlib.sha256("\0".join(identity).encode()).hexdigest(),
                TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
            )
        volume = volume_of({**answer, "Tags": tags, "Attachments": []})
        if volume is None:
            raise AssertionError(answer)
        return volume, time.time() - answer["CreateTime"].timestamp() > REPLAY_AGE

    def _create_snapshot(self, volume: Volume) -> None:
        """The snapshot has the volume's content at this moment, when nothing writes to it.

        Nothing waits until the content is copied. If a run is killed right here, the next one creates another snapshot.
        """
        with aws_errors(doing=f"creating a snapshot of {volume.id}"):
            self._clients.ec2.create_snapshot(
                VolumeId=volume.id, TagSpecifications=[{"ResourceType": "snapshot", "Tags": self._tags(volume)}]
            )

    def _tags(self, volume: Volume | VolumeRequest) -> Sequence[dict[str, str]]:
        """Of a volume and of its snapshots."""
        texts = {
            tag_names.FLEET: volume.fleet,
            tag_names.STORE: self._scope.store,
            tag_names.SLOT: str(volume.slot),
            tag_names.VOLUME: volume.name,
            **({tag_names.KMS_KEY: volume.options.kms_key} if volume.options.kms_key else {}),
        }
        name = {"Key": NAME_KEY, "Value": f"{volume.fleet}-{volume.slot}-{volume.name}"}
        return with_own([name, *to_aws(texts)], self._scope.tags)

    def _removals(self, fleet: str) -> int:
        document = read_as(self._store, _key(fleet), _Removals, "the number of removed volumes")
        return int(document[0]["removals"]) if document else 0

    def _devices(self, instance_id: str) -> set[str]:
        with aws_errors(doing=f"reading {instance_id}"):
            answer = self._clients.ec2.describe_instances(InstanceIds=[instance_id])
        found = instances_in([answer])
        return {disk["DeviceName"] for instance in found for disk in instance.get("BlockDeviceMappings", ())}

    def _instance_states(self, ids: set[str]) -> Mapping[str, str]:
        with aws_errors(doing="reading instances"):
            pages = self._clients.ec2.get_paginator("describe_instances").paginate(
                Filters=[{"Name": "instance-id", "Values": sorted(ids)}]
            )
            return {instance["InstanceId"]: instance["State"]["Name"] for instance in instances_in(pages)}


def _change_of(volume: Volume, size: int, kind: str, options: VolumeOptions) -> dict[str, Any]:
    """The parameters of ModifyVolume, without what the volume has already."""
    change: dict[str, Any] = {}
    if gib(size) > volume.size // GIB:
        change["Size"] = gib(size)
    if kind and kind != volume.kind:
        defaults = _iops_of(kind, max(gib(size), volume.size // GIB))
        return {**change, "VolumeType": kind, **defaults, **_performance_of(options)}
    present = _performance_of(volume.options)
    return {**change, **{name: n for name, n in _performance_of(options).items() if n != present.get(name)}}


def _performance_of(options: VolumeOptions) -> dict[str, int]:
    """The parameters of the options that are given."""
    return {name: number for name, number in (("Iops", options.iops), ("Throughput", options.throughput)) if number}


def _later_identity(options: VolumeOptions, tags: Mapping[str, str]) -> list[str]:
    """What a token also depends on, because EBS refuses a token with other parameters. Nothing at the defaults."""
    return [json.dumps([asdict(options), dict(tags)], sort_keys=True)] if options != NO_OPTIONS or tags else []


def _iops_of(kind: str, size: int) -> dict[str, Any]:
    """The parameter of volume types that EBS creates only with a number of operations per second. ``size``: GiB."""
    return {"io1": {"Iops": min(IOPS, MAX_IO1_IOPS_PER_GIB * size)}, "io2": {"Iops": IOPS}}.get(kind, {})


def _key(fleet: str) -> str:
    return f"volumes/{fleet}.json"
