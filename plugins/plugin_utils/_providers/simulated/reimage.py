# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated replacement of roots, in two steps as in a cloud: what an instance is to run is recorded first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..._core.errors import ProviderError
from ..contract import PENDING, RUNNING, STOPPED, Instance, InstanceState, LaunchRequest
from ..root_state import ORIGINAL, REQUESTED, RootState
from ..tags import ATTEMPT, MARKS, SWAP
from .clock import NEVER
from .world import SimulatedMachine, World, count_needed_volumes


class SimulatedReimager:
    """See ``contract.Reimager``. It is like EC2: an instance keeps running."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def replaces_in(self) -> InstanceState:
        return self._world.replaces_in

    def check(self, instances: Sequence[Instance], wanted: Sequence[LaunchRequest]) -> None:
        """Accepts everything: settings have no effect here."""

    def reimage(self, requests: Mapping[str, LaunchRequest]) -> None:
        """Refuses an instance in another state than ``replaces_in``."""

        def steps() -> Iterator[tuple[str, bool]]:
            for instance_id in requests:
                yield instance_id, False
                yield instance_id, True

        def effect(step: tuple[str, bool]) -> None:
            instance_id, begins = step
            machine = self._world.machines.get(instance_id)
            if machine and begins:
                self._begin(machine)
            elif machine:
                self._record(machine, requests[instance_id])

        self._world.change("reimage", steps(), effect)

    def release(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            machine = self._world.machines.get(instance_id)
            if machine:
                machine.instance = replace(machine.instance, root=ORIGINAL)

        self._world.change("release", ids, effect)

    def _record(self, machine: SimulatedMachine, request: LaunchRequest) -> None:
        instance, world = machine.instance, self._world
        if _recorded(instance) == (request.image, request.launch, request.tags.get(SWAP), request.tags.get(ATTEMPT)):
            return
        state = world.state(machine)
        states = (STOPPED,) if world.replaces_in == STOPPED else (PENDING, RUNNING)
        if machine.removing or state not in states:
            raise ProviderError(f"instance {instance.id} is {state}, so its root cannot be replaced")
        present = instance.root.previous if instance.root.change == REQUESTED else instance.image
        now = world.clock.now()
        machine.instance = replace(
            instance,
            image=request.image,
            launch=request.launch,
            created=now,
            started=now,
            endpoints={port: ("192.0.2.1", port) for port in request.ports},
            tags={**{name: text for name, text in instance.tags.items() if name not in MARKS}, **request.tags},
            root=RootState(previous=present, change=REQUESTED),
        )
        machine.latencies, machine.behavior = world.traits_of(request)
        machine.volumes_needed = count_needed_volumes(machine.instance)

    def _begin(self, machine: SimulatedMachine) -> None:
        instance, now = machine.instance, self._world.clock.now()
        if instance.root.change != REQUESTED:
            return
        machine.instance = replace(
            instance, state=PENDING, started=now, stopping_since=0.0, root=replace(instance.root, change="")
        )
        machine.crashes_at, machine.down_since, machine.volumes_ready_since = NEVER, now, now
        machine.never_healthy = False


def _recorded(instance: Instance) -> tuple[str, str, str | None, str | None]:
    return instance.image, instance.launch, instance.tags.get(SWAP), instance.tags.get(ATTEMPT)
