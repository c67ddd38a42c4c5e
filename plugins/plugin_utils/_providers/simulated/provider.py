# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A simulated provider: instances, volumes and balancers in memory, under a virtual clock.

It is stricter than a cloud where a cloud would tolerate a mistake (a second attach raises), so that no plan relies on
leniency. Check mode runs on it to predict a swap. The tests run every promise on it, with faults before, during and
after each effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..bake_leftovers import Leftovers
from ..contract import Clock, Instance, Pace, PinSecrets, Reimager
from ..disk_images import DiskImages
from .compute import SimulatedCompute
from .reimage import SimulatedReimager
from .traffic import SimulatedTraffic
from .volumes import SimulatedVolumes
from .world import World


class SimulatedProvider:
    """See ``contract.Provider``.

    Args:
        clock: the time as the controller sees it, if that is not the world's.
    """

    name = "simulated"
    longest_call = 0.0

    def __init__(self, world: World | None = None, clock: Clock | None = None) -> None:
        self.world = world or World()
        self.compute = SimulatedCompute(self.world)
        self.volumes = SimulatedVolumes(self.world)
        self.images = DiskImages()  # it pretends to boot what was baked for QEMU
        self.clock: Clock = clock or self.world.clock
        self.pace: Pace | None = None
        self.leftovers: Leftovers | None = None
        self.pin_secrets: PinSecrets | None = None
        self.prove_again: Callable[[], None] | None = None
        self.reimager: Reimager | None = SimulatedReimager(self.world)

    def traffic(self, fleet: str) -> SimulatedTraffic:
        return SimulatedTraffic(self.world, fleet)

    def describe(self, fleet: str) -> dict[str, Any]:  # noqa: ARG002  the same for every fleet
        return {"provider": self.name, "warnings": ["simulated: no machine runs"]}

    def probe(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        machines, ids = self.world.machines, tuple(instance.id for instance in instances)

        def answers() -> dict[str, bool | str]:
            return {
                instance_id: (instance_id in machines and self.world.healthy(machines[instance_id])) or "no answer"
                for instance_id in ids
            }

        return dict(self.world.read("probe", ids, answers))
