# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A simulated cloud, the engine on it, and everything counted that a swap asks of cloud and store."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Simulation
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload, Request, VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import event_driven_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.faults import simulate
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies, World
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

FLEET = "shop-bench"
OLD, NEW = "sha256:old", "sha256:new"
# As a small virtual machine in a public cloud fares behind a load balancer with a check every 5 s that must pass twice. Seconds.
CLOUD = Latencies(boot=40.0, health=2.0, check=10.0, drain=30.0, stop=15.0, call=0.5)


@dataclass(frozen=True)
class Swap:
    """What one run of the engine took."""

    seconds: float  # of the virtual clock
    cpu: float  # seconds of this process: the engine's and the simulated cloud's
    calls: Counter[str]  # changing ones
    reads: Counter[str]
    writes: int  # to the store
    result: dict[str, Any]


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        self.writes += 1
        return super().write(key, document, expect)


class Free:
    """No predecessor's process is there to be waited for."""

    def check(self) -> None: ...


class Lab:
    """One fleet in one world. ``forgets``: drained members leave the balancer by themselves. ``spread``: share by which latencies vary."""

    def __init__(self, forgets_drained: bool = True, spread: float = 0.0) -> None:
        self.world = World(latencies=CLOUD, forgets_drained=forgets_drained)
        if spread:
            times: dict[str, Any] = {
                "boot": CLOUD.boot,
                "health": CLOUD.health,
                "check": CLOUD.check,
                "drain": CLOUD.drain,
                "stop": CLOUD.stop,
            }
            simulate(self.world, Simulation(**times, spread=spread))
            self.world.latencies = CLOUD  # with the time that a call takes
        self.store = CountingStore()
        self.provider = SimulatedProvider(self.world)

    def run(self, asked: Request) -> Swap:
        self.world.calls.clear()
        self.world.reads.clear()
        self.store.writes = 0
        began, cpu = self.world.clock.now(), time.process_time()
        result = self._engine().run(asked)
        spent = time.process_time() - cpu
        return Swap(
            self.world.clock.now() - began,
            spent,
            Counter(self.world.calls),
            Counter(self.world.reads),
            self.store.writes,
            result,
        )

    def _engine(self) -> Engine:
        clock = self.provider.clock
        lease = Lease(self.store, FLEET, "a bench", clock, monotonic=clock.now)
        return Engine(
            FleetServices(
                provider=self.provider,
                store=self.store,
                prober=self.provider.probe,
                guard=Free(),
                lease=lease,
                gates=OpenGates(),
                report=silent,
                pace=event_driven_pace,
            )
        )


def request(image: str, size: int, data: bool = False, **changes: Any) -> Request:
    volumes = (VolumeSpec("uploads", 1024, "/data"),) if data else ()
    intent = Intent(
        FLEET,
        image=image,
        image_name=image[7:],
        launch=f"launch-{image[7:]}",
        size=size,
        volumes=volumes,
        unavailable=int(data),
    )
    return Request("shop", "bench", replace(intent, **changes), Payload(ports=(8080,), tags={"port": "8080"}))
