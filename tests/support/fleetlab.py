# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A simulated fleet for tests: requests in short, and the promises checked in every state that a swap goes through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload, Request, VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import STOPPED
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import event_driven_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, World
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

FLEET = "shop-local"
V1, V2, BROKEN, DUMB = "sha256:1", "sha256:2", "sha256:bad", "sha256:dumb"


class Killed(BaseException):
    """As if the controller were gone: no handler of an ordinary error sees it."""


class Free:
    def check(self) -> None:
        pass


def request(image: str = V1, size: int = 3, data: bool = False, **changes: Any) -> Request:
    intent = Intent(
        fleet=FLEET,
        image=image,
        image_name=f"shop-{image}",
        launch=f"launch{image[7:]}",
        size=size,
        unavailable=1 if data else 0,
        volumes=(VolumeSpec("uploads", 1024, "/data"),) if data else (),
    )
    return Request("shop", "local", replace(intent, **changes), Payload(ports=(8080,), tags={"port": "8080"}))


def absent(**changes: Any) -> Request:
    return Request("shop", "local", replace(Intent(fleet=FLEET, goal="absent"), **changes))


class Lab:
    """One world and one store, and any number of engines one after the other."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.world.behaviors.update({BROKEN: Behavior(gets_healthy=False), DUMB: Behavior(boots=False)})
        self.store = MemoryStore()
        self.provider = SimulatedProvider(self.world)
        self.alive = False  # whether the holder of a lease that is found is
        self.gates = OpenGates()
        self.revoked: dict[str, str] = {}
        self.lines: list[str] = []

    def run(self, asked: Request, how: RunOptions | None = None) -> dict[str, Any]:
        began, wait, acts = self.world.clock.now(), self.world.clock.wait, len(self.world.calls)

        def bounded(seconds: float) -> None:
            assert self.world.clock.now() - began < 200_000, f"this run does not end: {self.lines[-3:]}"
            wait(seconds)

        self.world.clock.wait = bounded  # type: ignore[method-assign]
        try:
            return self.engine().run(asked, how)
        finally:
            self.world.clock.wait = wait  # type: ignore[method-assign]
            assert len(self.world.calls) - acts < 400, f"this run does too much: {self.lines[-12:]}"

    def engine(self) -> Engine:
        clock = self.provider.clock
        # One controller follows the other here, so a holder that is found is dead.
        lease = Lease(self.store, FLEET, "a swap", clock, monotonic=clock.now, alive=lambda _holder: self.alive)
        return Engine(
            FleetServices(
                provider=self.provider,
                store=self.store,
                prober=self.provider.probe,
                guard=Free(),
                lease=lease,
                gates=self.gates,
                report=self.lines.append,
                revoked=lambda: self.revoked,
                pace=event_driven_pace,
            )
        )

    def images(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for machine in self.world.machines.values():
            found.setdefault(machine.instance.slot, []).append(machine.instance.image)
        return found

    def serving(self) -> set[str]:
        world = self.world
        return {
            each
            for each, place in world.members.items()
            if world.member(each, place).state == "up" and world.healthy(world.machines[each])
        }

    def running(self) -> int:
        return sum(self.world.state(machine) != STOPPED for machine in self.world.machines.values())
