# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What swaps on every cloud have in common: the request, and a new controller with the real engine for each run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload, Request, VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.pace import every_second
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Pace, Probe, Provider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

from .swap_kills import NEW, OLD

FLEET, PORT, GIB = "shop-prod", 8080, 1024**3
AnyLab = TypeVar("AnyLab", bound="CloudSwapLab")


class CloudSwapLab(ABC):
    """One fleet on one cloud.

    Args:
        changes: fields of the intent, and ``data``: whether each slot has a volume.
    """

    times: ClassVar[Mapping[str, Any]]  # timeouts and deadlines of the intent
    zones: tuple[str, ...] = ()

    def __init__(self, size: int, changes: Mapping[str, Any]) -> None:
        self.size, self.changes, self.store = size, dict(changes), MemoryStore()
        self.lines: list[str] = []

    @abstractmethod
    def payload(self, image: str) -> Payload:
        """What a new instance of the image gets."""

    @abstractmethod
    def run(self, image: str = NEW, **more: Any) -> dict[str, Any]:
        """One run of a new controller. Raises what the engine raises.

        Args:
            more: like ``changes``, for this run.
        """

    @abstractmethod
    def forget(self) -> None:
        """Clear what was recorded, and end all faults."""

    @abstractmethod
    def assert_settled(self, image: str = NEW) -> None:
        """Assert that only this image runs, that no promise was broken, and that another run changes nothing."""

    def intent(self) -> dict[str, Any]:
        found = self.store.read(f"fleets/{FLEET}/intent.json")
        return dict(found[0]) if found else {}

    def request(self, image: str = NEW, **more: Any) -> Request:
        changes = {**self.changes, **more}
        data = changes.pop("data", False)
        intent = Intent(
            FLEET,
            image=image,
            image_name=image[7:],
            launch=f"launch-{image[7:]}",
            size=self.size,
            zones=self.zones,
            unavailable=1 if data else 0,
            volumes=(VolumeSpec("uploads", GIB, "/data"),) if data else (),
            **self.times,
        )
        other = OLD if image == NEW else NEW
        intent = replace(intent, **changes)
        return Request("shop", "prod", intent, payload=self.payload(image), origin=self.payload(other))

    def engine(
        self,
        provider: Provider,
        prober: Probe,
        *,
        report: Callable[[Any], None],
        monotonic: Callable[[], float] = time.monotonic,
        pace: Pace = every_second,
    ) -> Engine:
        """A new controller's engine. See ``Lease`` and ``FleetServices``."""
        lease = Lease(self.store, FLEET, "a swap", provider.clock, monotonic=monotonic, alive=lambda _holder: False)
        services = FleetServices(
            provider=provider,
            store=self.store,
            prober=prober,
            guard=NoGuard(),
            lease=lease,
            gates=OpenGates(),
            report=report,
            pace=pace,
        )
        return Engine(services)

    def with_old_image(self: AnyLab) -> AnyLab:
        """Bring the fleet to the old image, and clear what was recorded."""
        self.run(OLD, strategy="rolling", stages=())
        self.forget()
        return self

    def finish(self, image: str = NEW) -> None:
        """Run without faults, and assert that the fleet is settled on the image."""
        self.run(image)
        self.assert_settled(image)
