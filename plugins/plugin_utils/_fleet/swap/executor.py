# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out actions through a provider. Each is one bulk call, or one call per instance for attaching volumes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from ..._core.errors import FleetError
from ..._providers.contract import FLEET, Instance, LaunchRequest, Provider, Reimager, Traffic, VolumeRequest
from ..._providers.tags import ATTEMPT, SWAP, VOLUMES
from ..actions import (
    Action,
    Attach,
    CreateVolumes,
    Deregister,
    Detach,
    Drain,
    Launch,
    LaunchSlot,
    Modify,
    OnInstances,
    OnVolumes,
    PowerOff,
    Register,
    Reimage,
    Release,
    Remove,
    RemoveVolumes,
    Start,
    Stop,
    Switch,
    unknown_action,
)
from ..events import InstanceEvent
from ..model import Intent, Payload
from ..observed import Observed
from ..planning.holds import zone_of
from ..ports import ChangePermit

Event = tuple[str, "int | None", "str | None"]  # (what, slot, instance id)

# Seconds that a call may take at most. The lease must last that long when the call begins.
ORDINARY = 30.0
BOUNDS: Mapping[type, float] = {Launch: 120.0, Reimage: 120.0, Modify: 600.0, CreateVolumes: 60.0}


def bound_of(action: Action) -> float:
    return BOUNDS.get(type(action), ORDINARY)


class Executor:
    """Carries out one action at a time.

    ``launched`` holds the instances that the last call of ``act`` launched.
    """

    def __init__(
        self,
        provider: Provider,
        traffic: Traffic,
        payloads: Callable[[Intent], Payload],
        permit: ChangePermit,
    ) -> None:
        self.launched: list[Instance] = []
        self._provider = provider
        self._traffic = traffic
        self._payloads = payloads  # what a new instance of the desired version gets
        self._permit = permit

    def act(self, action: Action, observed: Observed, intent: Intent) -> list[Event]:
        """Carry out the action and return its events.

        Raises ProviderError, AbandonedError, LeaseLostError; FleetError for an unknown action.
        """
        self.launched = []
        self._permit.check(bound_of(action))
        slots = {view.id: view.slot for view in observed.instances}
        match action:
            case CreateVolumes():
                return self._create(action, intent)
            case Launch():
                return self._launch(action, intent)
            case Reimage():
                return self._reimage(action, intent)
            case Attach() | Detach() | Modify() | RemoveVolumes():
                return self._on_volumes(action, observed)
            case Switch():
                self._traffic.switch(action.on, action.off)
                on: list[Event] = [("takes over", slots.get(each), each) for each in action.on]
                return on + [("draining", slots.get(each), each) for each in action.off]
            case Start() | Register() | Drain() | Deregister() | Stop() | PowerOff() | Remove() | Release():
                done = self._on_instances(action, observed, intent)
                begun = {view.id for view in observed.instances if view.awaits_removal}  # and reported before
                return [(done, slots.get(each), each) for each in action.ids if each not in begun]
            case _:
                raise unknown_action(action)

    def _on_volumes(self, action: OnVolumes, observed: Observed) -> list[Event]:
        volumes = {volume.id: volume for volume in observed.volumes}
        match action:
            case Attach():
                self._provider.volumes.attach(action.volumes, action.instance)
                return [("volumes attached", volumes[action.volumes[0]].slot, action.instance)]
            case Detach():
                self._provider.volumes.detach(action.volumes)
                slots = dict.fromkeys(volumes[each].slot for each in action.volumes)
                return [("volumes detached", slot, None) for slot in slots]
            case Modify():
                self._provider.volumes.modify(action.volumes, action.size, action.kind, action.options)
                return [(f"volume {volumes[each].name} modified", volumes[each].slot, None) for each in action.volumes]
            case RemoveVolumes():
                self._provider.volumes.remove(action.volumes)
                return [(f"volume {each} removed", volumes[each].slot, None) for each in action.volumes]
            case _:
                raise unknown_action(action)

    def _on_instances(self, action: OnInstances, observed: Observed, intent: Intent) -> InstanceEvent:
        compute, traffic = self._provider.compute, self._traffic
        match action:
            case Start():
                compute.start(action.ids)
                return "started again"
            case Register():
                if traffic.ensure():
                    self._permit.check(ORDINARY)
                traffic.register(_addresses(action, observed), action.staged)
                return "staged" if action.staged else "registered"
            case Drain():
                traffic.drain(action.ids, intent.drain_timeout)
                return "draining"
            case Deregister():
                traffic.deregister(action.ids)
                return "deregistered"
            case Stop():
                compute.stop(action.ids)
                return "told to stop"
            case PowerOff():
                compute.power_off(action.ids)
                return "powered off"
            case Remove():
                compute.remove(action.ids)
                return "removed"
            case Release():
                self._reimager().release(action.ids)
                return "previous root removed"
            case _:
                raise unknown_action(action)

    def _create(self, action: CreateVolumes, intent: Intent) -> list[Event]:
        specs = {spec.name: spec for spec in intent.desired.volumes}
        requests = [
            VolumeRequest(
                fleet=intent.fleet,
                slot=slot,
                name=name,
                size=specs[name].size,
                mount=specs[name].mount,
                kind=specs[name].kind,
                options=specs[name].options,
                zone=zone_of(slot, intent),
            )
            for slot, name in action.missing
        ]
        self._provider.volumes.create(requests)
        return [(f"volume {name} created", slot, None) for slot, name in action.missing]

    def _launch(self, action: Launch, intent: Intent) -> list[Event]:
        payload = self._payloads(intent)
        self.launched = list(
            self._provider.compute.launch([launch_request(launch, intent, payload) for launch in action.slots])
        )
        return [("launched", each.slot, each.id) for each in self.launched]

    def _reimage(self, action: Reimage, intent: Intent) -> list[Event]:
        payload = self._payloads(intent)
        requests = {
            each.id: launch_request(LaunchSlot(each.slot, attempt=each.attempt), intent, payload)
            for each in action.slots
        }
        self._reimager().reimage(requests)
        return [("reimaged", each.slot, each.id) for each in action.slots]

    def _reimager(self) -> Reimager:
        if self._provider.reimager is None:
            raise FleetError(f"instances of the provider {self._provider.name} cannot be reimaged")
        return self._provider.reimager


def launch_request(launch: LaunchSlot, intent: Intent, payload: Payload) -> LaunchRequest:
    """The request for an instance of the desired version."""
    return LaunchRequest(
        token=intent.token(launch.slot, launch.attempt),
        fleet=intent.fleet,
        slot=launch.slot,
        image=intent.desired.image,
        artifact=payload.artifact,
        launch=intent.desired.launch,
        nonce=secrets.token_hex(16),
        purpose=FLEET,
        ports=payload.ports,
        authorized_keys=payload.authorized_keys,
        settings=payload.settings,
        secrets=payload.secrets,
        secret_refs=payload.secret_refs,
        machine=payload.machine,
        volumes=launch.volumes,
        tags={
            **payload.tags,
            VOLUMES: ",".join(spec.name for spec in intent.desired.volumes),
            SWAP: str(intent.serial),
            ATTEMPT: str(launch.attempt),
        },
        zone=zone_of(launch.slot, intent),
    )


def _addresses(action: Register, observed: Observed) -> dict[str, tuple[str, int]]:
    addresses, ids = {}, set(action.ids)
    for view in observed.instances:
        if view.id in ids:
            if view.address is None:
                raise FleetError(f"{view.id} has no address for the port that takes traffic")
            addresses[view.id] = view.address
    return addresses
