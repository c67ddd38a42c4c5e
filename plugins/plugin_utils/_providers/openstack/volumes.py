# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes of Cinder, one for each slot and name. Their metadata says what they are.

Cinder has no create token. A creation therefore looks for the slot's volume first. What remains is a request whose
answer is lost and which Cinder carries out only after that look: of two volumes, the one that was ever attached counts,
else the older one. The warnings name the other one.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._core.errors import ProviderError
from ..._core.gibibytes import gib
from ..._openstack.connect import Connections
from ..._openstack.rest import Rest
from .. import tags as tag_names
from ..contract import STOPPED, LaunchRequest, Volume, VolumeRequest
from ..slot_volumes import refuse_other_holders, refuse_shrinking, volumes_by_slot
from ..volume_options import NO_OPTIONS, VolumeOptions, refuse_options
from .describe import state_of, volume_of
from .metadata import FORM, texts_of
from .servers import Scope

POLL_SECONDS = 0.5
TIMEOUT = 20.0  # seconds for a change; what takes longer is tried again
MODIFY_TIMEOUT = 540.0  # seconds for a volume to grow or to change its type
GONE = ("deleting", "error_deleting")  # statuses of volumes that do not exist any more, or that nobody can use
FAILED: str = "error"
AVAILABLE, IN_USE, DETACHING = "available", "in-use", "detaching"
TRUE = "true"


class CinderVolumes:
    """See ``contract.Volumes``. ``warnings`` has a line for each volume that a slot has more than once.

    Args:
        snapshots: whether to create a snapshot of each volume that is detached.
    """

    def __init__(self, connections: Connections, scope: Scope, snapshots: bool = False) -> None:
        self.warnings: builtins.list[str] = []
        self._cinder = Rest(connections, "block_storage")
        self._nova = Rest(connections, "compute")
        self._scope = scope
        self._snapshots = snapshots
        self._fleet_of: dict[str, str] = {}  # by ID of a volume that was read or created

    def list(self, fleet: str) -> builtins.list[Volume]:
        return self._chosen(self._described(fleet), fleet)

    def fleets(self) -> Sequence[str]:
        return sorted({volume.fleet for volume in map(volume_of, self._described()) if volume})

    def by_slot(self, requests: Sequence[LaunchRequest]) -> Mapping[int, Sequence[Volume]]:
        """By slot, the volumes that a new instance there will have."""
        return volumes_by_slot(requests, self.list)

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        """Returns when the volumes are available."""
        if not requests:
            return []
        fleet = requests[0].fleet
        described = self._remove_failed(self._described(fleet))
        present = {(volume.slot, volume.name) for volume in self._chosen(described, fleet)}
        new = [request for request in requests if (request.slot, request.name) not in present]
        if created := [self._create(request) for request in new]:
            described = self._wait(created, lambda one: one.get("status") == AVAILABLE, "become available")
        volumes = {(volume.slot, volume.name): volume for volume in self._chosen(described, fleet)}
        return [volumes[request.slot, request.name] for request in requests]

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        """Returns when the volumes are attached."""
        described = self._describe_ids(volume_ids)
        volumes = {key: volume for key, volume in ((key, volume_of(one)) for key, one in described.items()) if volume}
        refuse_other_holders(volumes.values(), instance_id)
        for key, volume in volumes.items():
            if volume.attached_to is None and described[key].get("status") == AVAILABLE:
                texts = texts_of(described[key])
                if self._snapshots and tag_names.HOLDER in texts:
                    self._ensure_snapshot(volume, texts[tag_names.HOLDER])
                if tag_names.USED not in texts:
                    self._mark(key, {tag_names.USED: TRUE})
                body = {"volumeAttachment": {"volumeId": key}}
                path = f"/servers/{instance_id}/os-volume_attachments"
                self._nova.post(path, body, f"attaching {key} to {instance_id}")
        self._wait(list(volumes), lambda one: one.get("status") == IN_USE, f"attach to {instance_id}")

    def detach(self, volume_ids: Sequence[str]) -> None:
        """Returns when the volumes are available."""
        described = self._describe_ids(volume_ids)
        volumes = [volume for volume in map(volume_of, described.values()) if volume]
        attached = [(volume, volume.attached_to) for volume in volumes if volume.attached_to]
        busy = []
        for holder in dict.fromkeys(holder for _volume, holder in attached):
            found = self._nova.find(f"/servers/{holder}", f"reading server {holder}")
            if found and state_of(found.get("server", {})) != STOPPED:
                busy.append(f"{holder} is {found.get('server', {}).get('status', 'in an unknown state')}")
        if busy:
            raise ProviderError(
                f"cannot detach volumes from servers that are not stopped: {', '.join(busy)} (allowed: SHUTOFF)"
            )
        for volume, holder in attached:
            if self._snapshots:  # also if this run is interrupted before it makes one
                self._mark(volume.id, {tag_names.HOLDER: holder})
            if described[volume.id].get("status") != DETACHING:  # a call whose answer was lost; Cinder refuses another
                path = f"/servers/{holder}/os-volume_attachments/{volume.id}"
                self._nova.delete(path, f"detaching {volume.id} from {holder}")
        self._wait([volume.id for volume, _holder in attached], _is_free, "detach")
        for volume, holder in attached if self._snapshots else ():
            self._ensure_snapshot(volume, holder)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        """Returns when each volume has its new size and type.

        Volumes are modified while no server has them: with some of Cinder's drivers, an attached volume fails to grow
        and can neither be used nor detached afterwards.
        """
        refuse_options(options)
        described = self._describe_ids(volume_ids)
        for volume in filter(None, map(volume_of, described.values())):
            refuse_shrinking(volume, size)
        for key, one in described.items():
            if one.get("status") == IN_USE:
                raise ProviderError(f"{key} is attached to a server, so it is not modified (detach it first)")
        grown = [key for key, one in described.items() if int(one.get("size", 0)) < gib(size)]
        for key in grown:
            self._act(key, {"os-extend": {"new_size": gib(size)}}, f"growing {key}")
        self._wait(grown, lambda one: _is_free(one) and int(one.get("size", 0)) >= gib(size), "grow", MODIFY_TIMEOUT)
        other = [key for key, one in described.items() if kind and one.get("volume_type") != kind]
        for key in other:
            self._act(key, {"os-retype": {"new_type": kind, "migration_policy": "on-demand"}}, f"retyping {key}")
        self._wait(
            other, lambda one: _is_free(one) and one.get("volume_type") == kind, "change their type", MODIFY_TIMEOUT
        )

    def remove(self, volume_ids: Sequence[str]) -> None:
        """Cinder refuses to remove a volume that has snapshots."""
        for one in self._look(volume_ids):
            if one["id"] in volume_ids:
                self._cinder.delete(f"/volumes/{one['id']}", f"removing {one['id']}")

    def _chosen(self, described: Sequence[Mapping[str, Any]], fleet: str) -> builtins.list[Volume]:
        """The fleet's volumes, one for each slot and name."""
        chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
        for one in sorted(described, key=_precedence):
            texts = texts_of(one)
            place = texts.get(tag_names.SLOT, ""), texts.get(tag_names.VOLUME, "")
            if place not in chosen and one.get("status") != FAILED:
                chosen[place] = one
            elif place in chosen:
                line = (
                    f"slot {place[0]} of {fleet} has more than one volume named {place[1]}: {chosen[place]['id']} is "
                    f"used and {one['id']} is not (delete it in Cinder if nobody needs its data)"
                )
                self.warnings += [line] if line not in self.warnings else []
        return [volume for volume in map(volume_of, chosen.values()) if volume]

    def _described(self, fleet: str = "") -> builtins.list[dict[str, Any]]:
        texts = {tag_names.STORE: self._scope.store, **({tag_names.FLEET: fleet} if fleet else {})}
        # Cinder takes the filter as a mapping in the notation of Python.
        wanted = repr(FORM.tags_of(texts))
        listed = self._cinder.pages("/volumes/detail", "volumes", "reading volumes", metadata=wanted)
        ours = [one for one in listed if texts.items() <= texts_of(one).items()]
        self._fleet_of |= {str(one["id"]): texts_of(one).get(tag_names.FLEET, "") for one in ours}
        return [one for one in ours if one.get("status") not in GONE]

    def _look(self, volume_ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """All volumes of the fleet that these are of, or of the store. Cinder lists none by their IDs."""
        fleets = {self._fleet_of.get(key, "") for key in volume_ids}
        return self._described(fleets.pop() if len(fleets) == 1 else "") if volume_ids else ()

    def _describe_ids(self, volume_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Data volumes by ID. Raises ProviderError if one does not exist."""
        return _by_id(self._look(volume_ids), volume_ids)

    def _create(self, request: VolumeRequest) -> str:
        """The ID of a new volume."""
        refuse_options(request.options)
        texts = {**_texts(request, self._scope), tag_names.BLANK: TRUE}
        if request.zone:
            texts[tag_names.ZONE] = request.zone
        volume: dict[str, Any] = {
            "name": f"{request.fleet}-{request.slot}-{request.name}",
            "size": gib(request.size),
            "metadata": {**self._scope.tags, **FORM.tags_of(texts)},
            **({"volume_type": request.kind} if request.kind else {}),
            **({"availability_zone": request.zone} if request.zone in self._zones(request.zone) else {}),
        }
        doing = f"creating volume {request.name} of slot {request.slot}"
        created = self._cinder.post("/volumes", {"volume": volume}, doing).get("volume")
        if not isinstance(created, Mapping) or "id" not in created:
            raise ProviderError(f"{doing}: Cinder's answer names no volume")
        self._fleet_of[str(created["id"])] = request.fleet
        return str(created["id"])

    def _zones(self, wanted: str) -> Sequence[str]:
        """Names of Cinder's zones, which may be others than Nova's. Not read if none is wanted."""
        if not wanted:
            return ()
        zones = self._cinder.get("/os-availability-zone", "reading zones").get("availabilityZoneInfo", ())
        return [str(zone.get("zoneName")) for zone in zones if isinstance(zone, Mapping)]

    def _remove_failed(self, described: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Delete volumes that could never be created. Returns the others."""
        failed = [one for one in described if one.get("status") == FAILED and tag_names.USED not in texts_of(one)]
        for one in failed:
            self._cinder.delete(f"/volumes/{one['id']}", f"removing {one['id']}, which could not be created")
        return [one for one in described if one not in failed]

    def _ensure_snapshot(self, volume: Volume, holder: str) -> None:
        """Snapshot a volume as its last holder left it, unless that is done already.

        The snapshot is made of the detached volume: not every driver of Cinder can make one of an attached volume.
        """
        path = "/snapshots"
        listed = self._cinder.pages(path, "snapshots", "reading snapshots", volume_id=volume.id)
        made = [one for one in listed if texts_of(one).get(tag_names.HOLDER) == holder]
        for one in made:
            if one.get("status") == FAILED:
                self._cinder.delete(f"{path}/{one['id']}", f"removing a snapshot of {volume.id} that failed")
        found = next((one for one in made if one.get("status") != FAILED), None)
        if found is None:
            metadata = FORM.tags_of({**_texts(volume, self._scope), tag_names.HOLDER: holder})
            snapshot = {
                "volume_id": volume.id,
                "name": f"{volume.fleet}-{volume.slot}-{volume.name}",
                "metadata": {**self._scope.tags, **metadata},
            }
            answer = self._cinder.post(path, {"snapshot": snapshot}, f"creating a snapshot of {volume.id}")
            found = dict(answer.get("snapshot") or {})
        deadline = time.monotonic() + TIMEOUT
        while found.get("status") != AVAILABLE:
            if found.get("status") == FAILED:
                raise ProviderError(
                    f"the snapshot {found.get('id')} of volume {volume.id} failed (the next run deletes it and creates "
                    "another one)"
                )
            if time.monotonic() > deadline:
                raise ProviderError(
                    f"the snapshot {found.get('id')} of volume {volume.id} is not available after {TIMEOUT:g} s: "
                    f"it is {found.get('status')}"
                )
            time.sleep(POLL_SECONDS)
            found = dict(self._cinder.get(f"{path}/{found.get('id')}", "reading a snapshot").get("snapshot") or {})

    def _mark(self, volume_id: str, texts: Mapping[str, str]) -> None:
        body = {"metadata": FORM.tags_of(texts)}
        self._cinder.post(f"/volumes/{volume_id}/metadata", body, f"writing metadata of {volume_id}")

    def _act(self, volume_id: str, action: Mapping[str, Any], doing: str) -> None:
        self._cinder.post(f"/volumes/{volume_id}/action", action, doing)

    def _wait(
        self,
        volume_ids: Sequence[str],
        done: Callable[[Mapping[str, Any]], bool],
        wanted: str,
        timeout: float = 0.0,
    ) -> Sequence[dict[str, Any]]:
        """Return when all volumes are as wanted, with the last list of all of their fleet's.

        Args:
            wanted: what the volumes are to do, in the infinitive.
            timeout: seconds; 0 for ``TIMEOUT``.

        Raises ProviderError if one fails, or after the timeout.
        """
        timeout = timeout or TIMEOUT
        deadline = time.monotonic() + timeout
        remaining = list(volume_ids)
        look: Sequence[dict[str, Any]] = ()
        while remaining:
            look = self._look(remaining)
            described = _by_id(look, remaining)
            failed = [f"{key} is {one['status']}" for key, one in described.items() if "error" in str(one["status"])]
            if failed:
                raise ProviderError(f"volumes failed to {wanted}: {', '.join(failed)}")
            remaining = [key for key, one in described.items() if not done(one)]
            if remaining and time.monotonic() > deadline:
                states = ", ".join(f"{key} is {described[key].get('status')}" for key in remaining)
                raise ProviderError(f"volumes did not {wanted} within {timeout:g} s: {states}")
            if remaining:
                time.sleep(POLL_SECONDS)
        return look


def _by_id(look: Sequence[dict[str, Any]], volume_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Data volumes by ID. Raises ProviderError if one does not exist."""
    found = {str(one["id"]): one for one in look if one["id"] in volume_ids and volume_of(one)}
    if missing := [key for key in volume_ids if key not in found]:
        raise ProviderError(f"there is no data volume {', '.join(missing)}")
    return found


def _texts(volume: Volume | VolumeRequest, scope: Scope) -> dict[str, str]:
    """Of a volume and of its snapshots."""
    return {
        tag_names.FLEET: volume.fleet,
        tag_names.STORE: scope.store,
        tag_names.SLOT: str(volume.slot),
        tag_names.VOLUME: volume.name,
    }


def _precedence(one: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """Which of several volumes of one slot and name counts."""
    return not one.get("attachments"), tag_names.USED not in texts_of(one), str(one.get("created_at", ""))


def _is_free(one: Mapping[str, Any]) -> bool:
    return one.get("status") == AVAILABLE
