# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet in the simulated cloud, for tests and benchmarks: requests in short form, and an engine to run them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload, Request, VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.services import simulated_services
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import STOPPED, Pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import event_driven_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, World
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

FLEET = "shop-local"
V1, V2, BROKEN, DUMB = "sha256:1", "sha256:2", "sha256:bad", "sha256:dumb"
LONGEST = 200_000.0  # virtual seconds of a run
MOST_CALLS = 400  # changing ones of a run


def request(image: str = V1, size: int = 3, data: bool = False, **changes: Any) -> Request:
    """A request for a fleet of this size. ``data``: each slot has a volume. ``changes``: fields of the intent."""
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
    """A request to remove the fleet. ``changes``: fields of the intent."""
    return Request("shop", "local", replace(Intent(fleet=FLEET, goal="absent"), **changes))


class CountingStore(MemoryStore):
    """Counts the documents that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        version = super().write(key, document, expect)
        self.writes += 1
        return version


class Lab:
    """One world, one store, and a new engine for each run."""

    def __init__(self, world: World | None = None, fleet: str = FLEET) -> None:
        self.world = world or World()
        self.world.behaviors.update({BROKEN: Behavior(gets_healthy=False), DUMB: Behavior(boots=False)})
        self.fleet = fleet
        self.store = CountingStore()
        self.provider = SimulatedProvider(self.world)
        self.pace: Pace = event_driven_pace
        self.holder_alive = False  # whether another holder of the lease is known to be alive
        self.gates = OpenGates()
        self.revoked: dict[str, str] = {}
        self.lines: list[str] = []

    def run(self, request: Request, options: RunOptions | None = None) -> dict[str, Any]:
        """Return the result of one run. Raises AssertionError if the run does not end or makes too many calls."""
        calls = len(self.world.calls)
        with self._bounded():
            try:
                return self.engine().run(request, options)
            finally:
                assert len(self.world.calls) - calls < MOST_CALLS, f"too many calls in one run: {self.lines[-12:]}"

    def engine(self) -> Engine:
        services = simulated_services(self.provider, self.store, self.lines.append)
        clock = self.provider.clock
        lease = Lease(
            self.store, self.fleet, "a swap", clock, monotonic=clock.now, alive=lambda _holder: self.holder_alive
        )
        return Engine(replace(services, lease=lease, gates=self.gates, revoked=lambda: self.revoked, pace=self.pace))

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        clock, start = self.world.clock, self.world.clock.now()
        wait = clock.wait

        def bounded_wait(seconds: float) -> None:
            assert clock.now() - start < LONGEST, f"this run does not end: {self.lines[-3:]}"
            wait(seconds)

        clock.wait = bounded_wait  # type: ignore[method-assign]
        try:
            yield
        finally:
            clock.wait = wait  # type: ignore[method-assign]

    def images(self) -> dict[int, list[str]]:
        """The images that run, by slot."""
        images: dict[int, list[str]] = {}
        for machine in self.world.machines.values():
            images.setdefault(machine.instance.slot, []).append(machine.instance.image)
        return images

    def serving(self) -> set[str]:
        """Ids of the instances in service."""
        world = self.world
        return {
            name
            for name, entry in world.members.items()
            if world.member(name, entry).state == "up" and world.healthy(world.machines[name])
        }

    def running(self) -> int:
        return sum(self.world.state(machine) != STOPPED for machine in self.world.machines.values())
