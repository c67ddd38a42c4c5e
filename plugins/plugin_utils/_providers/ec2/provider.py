# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A target on AWS: EC2 instances, EBS volumes, target groups of Elastic Load Balancing.

Everything it creates is tagged with the store's identity, so that two stores in one account never take each other's
resources for leftovers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._aws.clients import LONGEST_CALL, Clients
from ..._store.base import Store
from ..._store.keys import store_id
from ..cloud_clock import CloudClock
from ..cloud_pace import cloud_pace
from ..contract import Images, Instance, Pace, Probe, Reimager, Traffic
from . import secrets
from .cached_traffic import CachedTraffic
from .compute import Ec2Compute
from .evidence_bucket import destination, open_bucket
from .leftovers import Ec2Leftovers
from .run_instances import Scope
from .seal_evidence import SealEvidence
from .volumes import Ec2Volumes


class Ec2Provider:
    """See ``contract.Provider``."""

    name = "aws"
    longest_call = LONGEST_CALL

    def __init__(
        self,
        clients: Clients,
        store: Store,
        balancer: Callable[[str], Traffic],
        *,
        images: Images,
        probes: bool = True,
        snapshots: bool = False,
        bakes: Sequence[Clients] = (),
        tags: Mapping[str, str] | None = None,
        foreign: bool = False,
        certificates: str = "",
    ) -> None:
        """
        Args:
            balancer: returns the load balancer of a fleet.
            probes: False if the target group's own checks decide whether an instance is healthy.
            snapshots: whether to create a snapshot of each volume that is detached.
            bakes: clients in other regions where images are baked.
            tags: the target's own tags, which everything that is created gets.
            foreign: whether images are baked in another account.
            certificates: see ``EvidenceBucket``.
        """
        self._clients = clients
        self._balancer = balancer
        self._traffic: dict[str, CachedTraffic] = {}
        identity = store_id(store)
        account = clients.account_id if foreign else ""
        endpoint, evidence = clients.account.endpoint_url, destination(store)
        scope = Scope(clients.region, identity, endpoint, tags=tags or {}, account=account, evidence=evidence)
        self.volumes = Ec2Volumes(clients, scope, store, snapshots)
        self._evidence = SealEvidence(clients, store, open_bucket(store, clients, certificates))
        self.compute = Ec2Compute(clients, scope, self.volumes, self._evidence)
        self.images = images
        self.leftovers = Ec2Leftovers([clients, *bakes], identity)
        self.reimager: Reimager | None = self.compute.reimager
        self.clock = CloudClock()
        self.pace: Pace = cloud_pace
        self.probe: Probe | None = None if probes else self._probe_by_balancer

    def traffic(self, fleet: str) -> Traffic:
        return self._cached_traffic(fleet)

    def describe(self, fleet: str) -> dict[str, Any]:  # noqa: ARG002  the same for every fleet
        warnings = [*self.compute.warnings, *self._evidence.warnings]
        return {"provider": self.name, "region": self._clients.region, "warnings": warnings}

    def pin_secrets(self, parameters: Sequence[str]) -> Mapping[str, str]:
        """Each SSM parameter with its present version. See ``secrets.pin_secrets``."""
        return secrets.pin_secrets(self._clients, parameters)

    def prove_again(self) -> None:
        """Let the next look read the evidence of every host again. See ``SealEvidence.prove_again``."""
        self._evidence.prove_again()

    def _probe_by_balancer(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        return {instance.id: self._cached_traffic(instance.fleet).verdict(instance.id) for instance in instances}

    def _cached_traffic(self, fleet: str) -> CachedTraffic:
        if fleet not in self._traffic:
            self._traffic[fleet] = CachedTraffic(self._balancer(fleet))
        return self._traffic[fleet]
