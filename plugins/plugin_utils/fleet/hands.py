# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carry out actions by a provider. Each is one bulk call, or one per instance where volumes are plugged."""
from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import FleetError
from ..providers.base import FLEET, LaunchRequest, Provider, Traffic, VolumeRequest
from .model import Intent, Observed, Payload
from .outcome import Action, Attach, CreateVolumes, Deregister, Detach, Drain, Launch, Register, Remove, RemoveVolumes, Start, Stop

Event = tuple[str, "int | None", "str | None"]  # (what, slot, instance id)
_T = TypeVar("_T")


class Hands:
    def __init__(self, provider: Provider, traffic: Traffic, payload: Payload, check: Callable[[], None]) -> None:
        self._provider = provider
        self._traffic = traffic
        self._payload = payload
        self._check = check  # raises when nothing may be changed any more; asked right before each changing call

    def act(self, action: Action, observed: Observed, intent: Intent) -> list[Event]:
        """Do it and tell what was done. Raises ProviderError and whatever ``check`` raises."""
        self._check()
        if isinstance(action, CreateVolumes):
            return self._create(action, intent)
        if isinstance(action, Launch):
            return self._launch(action, intent)
        volumes = {volume.id: volume for volume in observed.volumes}
        if isinstance(action, Attach):
            self._provider.volumes.attach(action.volumes, action.instance)
            return [("volumes attached", volumes[action.volumes[0]].slot, action.instance)]
        if isinstance(action, Detach):
            self._provider.volumes.detach(action.volumes)
            return [("volumes detached", slot, None) for slot in _once(volumes[each].slot for each in action.volumes)]
        if isinstance(action, RemoveVolumes):
            self._provider.volumes.remove(action.volumes)
            return [(f"volume {each} removed", volumes[each].slot, None) for each in action.volumes]
        done = self._on_instances(action, observed, intent)
        slots = {view.id: view.slot for view in observed.instances}
        return [(done, slots.get(each), each) for each in action.ids]

    def _on_instances(self, action: Start | Register | Drain | Deregister | Stop | Remove, observed: Observed, intent: Intent) -> str:
        compute, traffic = self._provider.compute, self._traffic
        if isinstance(action, Start):
            compute.start(action.ids)
            return "started again"
        if isinstance(action, Register):
            if traffic.ensure():
                self._check()
            traffic.register(_addresses(action, observed))
            return "registered"
        if isinstance(action, Drain):
            traffic.drain(action.ids)
            return "draining"
        if isinstance(action, Deregister):
            traffic.deregister(action.ids)
            return "deregistered"
        if isinstance(action, Stop):
            compute.stop(action.ids, intent.stop_timeout)
            return "told to stop"
        compute.remove(action.ids)
        return "removed"

    def _create(self, action: CreateVolumes, intent: Intent) -> list[Event]:
        specs = {spec.name: spec for spec in intent.volumes}
        wanted = [VolumeRequest(intent.fleet, slot, name, specs[name].size, specs[name].mount) for slot, name in action.missing]
        self._provider.volumes.create(wanted)
        return [(f"volume {name} created", slot, None) for slot, name in action.missing]

    def _launch(self, action: Launch, intent: Intent) -> list[Event]:
        payload = self._payload
        requests = [
            LaunchRequest(
                token=f"{intent.fleet}-{slot}-{intent.launch[:12]}-{intent.serial}",
                fleet=intent.fleet,
                slot=slot,
                image=intent.image,
                artifact=payload.artifact,
                launch=intent.launch,
                nonce=secrets.token_hex(16),
                purpose=FLEET,
                ports=payload.ports,
                authorized_keys=payload.authorized_keys,
                settings=payload.settings,
                secrets=payload.secrets,
                machine=payload.machine,
                volumes=volumes,
                tags={**payload.tags, "volumes": ",".join(spec.name for spec in intent.volumes)},
            )
            for slot, volumes in action.slots
        ]
        return [("launched", each.slot, each.id) for each in self._provider.compute.launch(requests)]


def _addresses(action: Register, observed: Observed) -> dict[str, tuple[str, int]]:
    found = {}
    for view in observed.instances:
        if view.id in action.ids:
            if view.address is None:
                raise FleetError(f"{view.id} has no address for the port that takes traffic")
            found[view.id] = view.address
    return found


def _once(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
