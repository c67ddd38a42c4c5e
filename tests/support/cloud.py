# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated provider with short calls, for its own tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    Instance,
    LaunchRequest,
    VolumeRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies, World

FLEET = "shop-prod"
GOOD = "sha256:good"
SLOW = Latencies(boot=30.0, health=3.0, stop=5.0)


def launch_request(token: str = "i", slot: int = 0, data: bool = False, **changes: Any) -> LaunchRequest:
    tags = {"volumes": "uploads"} if data else {}
    common: dict[str, Any] = {"fleet": FLEET, "image": GOOD, "artifact": {}, "launch": "l", "nonce": "n", "tags": tags}
    return LaunchRequest(**{**common, "token": token, "slot": slot, **changes})


class SimulatedCloud:
    def __init__(self, **changes: Any) -> None:
        self.world = World(**{"latencies": SLOW, **changes})
        self.provider = SimulatedProvider(self.world)
        self.compute, self.volumes, self.clock = self.provider.compute, self.provider.volumes, self.provider.clock
        self.start = self.clock.now()

    def run(self, token: str = "i", **changes: Any) -> None:
        self.compute.launch([launch_request(token, **changes)])
        self.world.clock.advance(40.0)

    def volume(self, slot: int = 0, **changes: Any) -> str:
        (volume,) = self.volumes.create(
            [VolumeRequest(FLEET, slot, name="uploads", size=1024, mount="/data", **changes)]
        )
        return volume.id

    def instances(self) -> dict[str, Instance]:
        return {instance.id: instance for instance in self.compute.list(FLEET)}

    def state(self, token: str = "i") -> str:
        return self.instances()[token].state

    def holder(self) -> str | None:
        return self.volumes.list(FLEET)[0].attached_to

    def healthy(self, token: str = "i") -> bool:
        return self.provider.probe([self.instances()[token]])[token] is True

    def health_changes(self, until: float) -> list[float]:
        """The seconds at which the instance's health changes. Waits from event to event."""
        times, start, last = [], self.clock.now(), self.healthy()
        while self.clock.now() < start + until:
            self.clock.wait(start + until - self.clock.now())
            healthy = self.healthy()
            if healthy != last:
                times.append(round(self.clock.now() - start, 6))
            last = healthy
        return times
