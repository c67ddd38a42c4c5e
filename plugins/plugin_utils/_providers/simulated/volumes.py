# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated data volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._core.errors import ProviderError
from ..contract import PENDING, STOPPED, STOPPING, Volume, VolumeRequest
from ..volume_options import NO_OPTIONS, VolumeOptions
from .world import World


class SimulatedVolumes:
    """See ``contract.Volumes``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, fleet: str) -> list[Volume]:
        world = self._world

        def volumes() -> list[Volume]:
            return [volume for volume in world.volumes.values() if volume.fleet == fleet]

        return list(world.read("volumes", fleet, volumes))

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        """The same fleet, slot and name is the same volume."""
        created: list[Volume] = []

        def effect(request: VolumeRequest) -> None:
            volume_id = f"{request.fleet}/{request.slot}-{request.name}"
            if volume_id not in self._world.volumes:
                volume = Volume(
                    id=volume_id,
                    fleet=request.fleet,
                    slot=request.slot,
                    name=request.name,
                    size=request.size,
                    kind=request.kind,
                    options=request.options,
                )
                self._world.volumes[volume_id] = volume
                self._world.volume_zones[volume_id] = request.zone
            created.append(self._world.volumes[volume_id])

        self._world.change("create_volumes", requests, effect)
        return created

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        def effect(volume_id: str) -> None:
            world = self._world
            machine, now = world.machines.get(instance_id), world.clock.now()
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            if world.volumes.get(volume_id) and world.volumes[volume_id].attached_to == instance_id:
                return
            state = world.state(machine)
            if machine.removing or state == STOPPING:
                raise ProviderError(f"instance {instance_id} is shutting down and takes no volume")
            if state == PENDING:  # as EC2 and Nova
                raise ProviderError(f"instance {instance_id} has not booted yet and takes no volume")
            check_attachable(world, volume_id, instance_id, machine.instance.zone)
            world.volumes[volume_id] = replace(world.volumes[volume_id], attached_to=instance_id, attached_at=now)
            machine.volumes_ready_since = now

        self._world.change("attach", volume_ids, effect)

    def detach(self, volume_ids: Sequence[str]) -> None:
        def effect(volume_id: str) -> None:
            volume = _require_volume(self._world, volume_id)
            holder = self._world.machines.get(volume.attached_to or "")
            if holder and self._world.state(holder) != STOPPED:
                raise ProviderError(f"volume {volume_id} is in use by {volume.attached_to}")
            self._world.volumes[volume_id] = replace(volume, attached_to=None, attached_at=0.0)

        self._world.change("detach", volume_ids, effect)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        def effect(volume_id: str) -> None:
            volume = _require_volume(self._world, volume_id)
            if volume.attached_to:
                raise ProviderError(f"volume {volume_id} is attached to {volume.attached_to} and cannot be modified")
            if size < volume.size:
                raise ProviderError(f"volume {volume_id} has {volume.size} bytes and cannot shrink to {size}")
            new = replace(
                volume.options,
                iops=options.iops or volume.options.iops,
                throughput=options.throughput or volume.options.throughput,
            )
            self._world.volumes[volume_id] = replace(volume, size=size, kind=kind or volume.kind, options=new)

        self._world.change("modify_volumes", volume_ids, effect)

    def remove(self, volume_ids: Sequence[str]) -> None:
        def effect(volume_id: str) -> None:
            if volume_id in self._world.volumes and self._world.volumes[volume_id].attached_to:
                raise ProviderError(f"volume {volume_id} is attached")
            self._world.volumes.pop(volume_id, None)
            self._world.volume_zones.pop(volume_id, None)

        self._world.change("remove_volumes", volume_ids, effect)


def check_attachable(world: World, volume_id: str, instance_id: str, zone: str) -> None:
    """Raises ProviderError if the volume does not exist, is attached, or is in another zone than the instance."""
    volume, volume_zone = _require_volume(world, volume_id), world.volume_zones.get(volume_id, "")
    if volume.attached_to is not None:
        raise ProviderError(f"volume {volume_id} is attached to {volume.attached_to} already")
    if zone and volume_zone and zone != volume_zone:
        raise ProviderError(f"volume {volume_id} is in zone {volume_zone}, and {instance_id} in zone {zone}")


def _require_volume(world: World, volume_id: str) -> Volume:
    if volume_id not in world.volumes:
        raise ProviderError(f"there is no volume {volume_id}")
    return world.volumes[volume_id]
