# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A target on OpenStack: servers of Nova, volumes of Cinder, addresses of Neutron.

Everything it creates carries the store's identity, so that two stores in one project never take each other's resources
for leftovers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._openstack.connect import LONGEST_CALL, Connections
from ..._store.base import Store
from ..._store.keys import store_id
from ..bake_leftovers import Leftovers
from ..cloud_clock import CloudClock
from ..cloud_pace import cloud_pace
from ..contract import Images, Pace, PinSecrets, Probe, Reimager, Traffic
from ..seal_evidence import EvidenceRecord
from .compute import NovaCompute
from .servers import Scope
from .volumes import CinderVolumes


class OpenStackProvider:
    """See ``contract.Provider``."""

    name = "openstack"
    longest_call = LONGEST_CALL

    def __init__(
        self,
        connections: Connections,
        store: Store,
        balancer: Callable[[str], Traffic],
        *,
        images: Images,
        leftovers: Leftovers | None = None,
        snapshots: bool = False,
        tags: Mapping[str, str] | None = None,
        foreign: bool = False,
    ) -> None:
        """
        Args:
            balancer: returns the load balancer of a fleet.
            snapshots: whether to create a snapshot of each volume that is detached.
            tags: the target's own, as metadata of everything that is created.
            foreign: whether images are baked in another project.
        """
        self._connections = connections
        self._balancer = balancer
        place = {"project": connections.project_id, "region": connections.region} if foreign else {}
        scope = Scope(store_id(store), tags or {}, **place)
        self._evidence = EvidenceRecord(store)
        self.volumes = CinderVolumes(connections, scope, snapshots)
        self.compute = NovaCompute(connections, scope, self.volumes, self._evidence)
        self.images = images
        self.leftovers = leftovers
        self.clock = CloudClock()
        self.pace: Pace | None = cloud_pace
        self.probe: Probe | None = None
        self.pin_secrets: PinSecrets | None = None
        self.reimager: Reimager | None = self.compute.reimager

    def traffic(self, fleet: str) -> Traffic:
        return self._balancer(fleet)

    def describe(self, fleet: str) -> dict[str, Any]:  # noqa: ARG002  the same for every fleet
        warnings = [*self.compute.warnings, *self.volumes.warnings]
        return {"provider": self.name, "region": self._connections.region, "warnings": warnings}

    def prove_again(self) -> None:
        """Let the next look read the evidence of every host again, which may have been rebooted."""
        self._evidence.prove_again()
