# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._core.errors import ProviderError
from ..contract import PENDING, RUNNING, STOPPED, STOPPING, Instance, LaunchRequest
from ..ended_instance import EndedInstance
from .clock import NEVER
from .volumes import check_attachable
from .world import SimulatedMachine, World, count_needed_volumes


class SimulatedCompute:
    """See ``contract.Compute``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: Sequence[EndedInstance] = ()

    def list(self, fleet: str) -> list[Instance]:
        world = self._world

        def views() -> list[Instance]:
            return [world.view(machine) for machine in world.machines.values() if machine.instance.fleet == fleet]

        found = world.read("instances", fleet, views)
        self._ended = world.ended(fleet)
        return list(found)

    def ended(self, fleet: str) -> Sequence[EndedInstance]:
        return [one for one in self._ended if one.fleet == fleet]

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        """Accepts all settings: a user who may launch instances here may also stop and remove them."""

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        """Refuses a token that was used for another launch, or whose instance was removed since."""
        launched: list[Instance] = []
        self._world.change("launch", requests, lambda request: launched.append(self._launch(request)))
        return launched

    def stop(self, ids: Sequence[str]) -> None:
        self._world.change("stop", ids, self._stop)

    def power_off(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine and self._world.state(machine) != STOPPED:
                machine.instance = replace(machine.instance, state=STOPPED, stopping_since=0.0)
                machine.down_since = self._world.clock.now()

        self._world.change("power_off", ids, effect)

    def start(self, ids: Sequence[str]) -> None:
        """Refuses an instance that does not exist, is still shutting down or is being removed."""

        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine is None:
                raise ProviderError(f"there is no instance {instance_id}")
            state = self._world.state(machine)
            if state == STOPPING or machine.removing:
                raise ProviderError(f"instance {instance_id} is shutting down and cannot be started")
            if state == STOPPED:
                machine.instance = replace(
                    machine.instance, state=PENDING, started=self._world.clock.now(), stopping_since=0.0
                )
                machine.crashes_at = NEVER

        self._world.change("start", ids, effect)

    def remove(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine and machine.removing and self._world.state(machine) == STOPPED:
                self._world.forget(machine)
            elif machine:
                self._stop(instance_id)
                machine.removing = True

        self._world.change("remove", ids, effect)

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine:
                merged = {**machine.instance.tags, **tags}
                machine.instance = replace(
                    machine.instance, tags={name: value for name, value in merged.items() if value is not None}
                )

        self._world.change("tag", ids, effect)

    def fleets(self) -> Sequence[str]:
        def names() -> Sequence[str]:
            machines, volumes = self._world.machines.values(), self._world.volumes.values()
            return sorted({machine.instance.fleet for machine in machines} | {volume.fleet for volume in volumes})

        return self._world.read("fleets", "", names)

    def console(self, instance_id: str) -> str:
        world = self._world

        def text() -> str:
            return f"{instance_id}: the last line of its console\n" if instance_id in world.machines else ""

        return world.read("console", instance_id, text)

    def _stop(self, instance_id: str) -> None:
        machine = self._world.machines.get(instance_id)
        if machine and self._world.state(machine) in (PENDING, RUNNING):
            now = self._world.clock.now()
            machine.instance = replace(machine.instance, state=STOPPING, stopping_since=now)
            machine.down_since = now

    def _launch(self, request: LaunchRequest) -> Instance:
        world, token = self._world, request.token
        if token in world.removed_tokens:
            raise ProviderError(f"token {token} belonged to an instance that was removed", token_spent=True)
        if token in world.machines:
            if not _same_launch(world.machines[token].instance, request):
                raise ProviderError(f"token {token} was used for another launch")
            return world.view(world.machines[token])
        for volume_id in request.volumes:
            check_attachable(world, volume_id, token, request.zone)
        machine = _new_machine(request, world.clock.now())
        machine.latencies, machine.behavior = world.traits_of(request)
        world.machines[token] = machine
        for volume_id in request.volumes:
            world.volumes[volume_id] = replace(
                world.volumes[volume_id], attached_to=token, attached_at=world.clock.now()
            )
        return world.view(machine)


def _same_launch(instance: Instance, request: LaunchRequest) -> bool:
    present = (instance.fleet, instance.slot, instance.image, instance.launch)
    return present == (request.fleet, request.slot, request.image, request.launch)


def _new_machine(request: LaunchRequest, now: float) -> SimulatedMachine:
    instance = Instance(
        id=request.token,
        fleet=request.fleet,
        slot=request.slot,
        image=request.image,
        launch=request.launch,
        state=PENDING,
        purpose=request.purpose,
        created=now,
        nonce=request.nonce,
        endpoints={port: ("192.0.2.1", port) for port in request.ports},
        tags=dict(request.tags),
        started=now,
        zone=request.zone,
    )
    return SimulatedMachine(instance, count_needed_volumes(instance), volumes_ready_since=now)
