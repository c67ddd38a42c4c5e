# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet in the simulated cloud, with everything counted that a swap needs of cloud and store."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Simulation
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Request
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.faults import simulate
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies, World
from ansible_collections.immutable.infra.tests.support import fleetlab

FLEET = "shop-bench"
OLD, NEW = "sha256:old", "sha256:new"
# Seconds of a small virtual machine in a public cloud, behind a load balancer whose check runs every 5 s and must pass
# twice.
CLOUD = Latencies(boot=40.0, health=2.0, check=10.0, drain=30.0, stop=15.0, call=0.5)


@dataclass(frozen=True)
class RunCost:
    """What one run of the engine took."""

    seconds: float  # of the virtual clock
    cpu: float  # seconds of this process, for the engine and the simulated cloud
    calls: Counter[str]  # changing ones
    reads: Counter[str]
    writes: int  # to the store
    result: dict[str, Any]


class Lab(fleetlab.Lab):
    """One fleet in one world.

    Args:
        forgets_drained: whether the load balancer removes drained members itself.
        spread: by which share latencies vary.
    """

    def __init__(self, forgets_drained: bool = True, spread: float = 0.0) -> None:
        super().__init__(World(latencies=CLOUD, forgets_drained=forgets_drained), FLEET)
        if spread:
            simulation = Simulation(
                boot=CLOUD.boot,
                health=CLOUD.health,
                check=CLOUD.check,
                drain=CLOUD.drain,
                stop=CLOUD.stop,
                spread=spread,
            )
            simulate(self.world, simulation)
            self.world.latencies = CLOUD  # with the time that a call takes

    def measure(self, request: Request) -> RunCost:
        self.world.calls.clear()
        self.world.reads.clear()
        start, writes, cpu = self.world.clock.now(), self.store.writes, time.process_time()
        result = self.engine().run(request)
        cpu = time.process_time() - cpu
        return RunCost(
            seconds=self.world.clock.now() - start,
            cpu=cpu,
            calls=Counter(self.world.calls),
            reads=Counter(self.world.reads),
            writes=self.store.writes - writes,
            result=result,
        )


def request(image: str, size: int, data: bool = False, **changes: Any) -> Request:
    """A request as the tests' lab makes it, for the fleet of the benchmarks."""
    name = image[7:]
    changes = {"fleet": FLEET, "image_name": name, "launch": f"launch-{name}", **changes}
    return fleetlab.request(image, size, data, **changes)
