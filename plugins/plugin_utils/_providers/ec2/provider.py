# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A target on AWS: instances of EC2, volumes of EBS, target groups of Elastic Load Balancing.

The store's identity is on everything that is made, so that two stores in one account never take each other's for left over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._aws.batches import PARAMETERS, batches
from ..._aws.clients import LONGEST_CALL, Clients, aws_errors
from ..._core.errors import ProviderError
from ..._store.base import Store
from ..._store.keys import store_id
from ..contract import Images, Instance, Pace, Probe, Traffic
from .cached_traffic import CachedTraffic
from .compute import Ec2Compute
from .consoles import Consoles
from .leftovers import Ec2Leftovers
from .pace import cloud_pace
from .run_instances import Scope
from .volumes import Ec2Volumes


class Ec2Clock:
    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class Ec2Provider:
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
    ) -> None:
        """
        Args:
            probes: False where the target group's own checks say whether an instance is well.
            snapshots: whether they are made of volumes that are detached.
            bakes: other regions that images are made in.
        """
        self._clients = clients
        self._balancer = balancer
        self._traffic: dict[str, CachedTraffic] = {}
        scope = Scope(clients.region, store_id(store), clients.account.endpoint_url)
        self.volumes = Ec2Volumes(clients, scope, store, snapshots)
        self.compute = Ec2Compute(clients, scope, self.volumes, Consoles(clients, store))
        self.images = images
        self.leftovers = Ec2Leftovers([clients, *bakes], store_id(store))
        self.clock = Ec2Clock()
        self.pace: Pace = cloud_pace
        self.probe: Probe | None = None if probes else self._by_balancer

    def traffic(self, fleet: str) -> Traffic:
        if fleet not in self._traffic:
            self._traffic[fleet] = CachedTraffic(self._balancer(fleet))
        return self._traffic[fleet]

    def describe(self) -> dict[str, Any]:
        return {"provider": self.name, "region": self._clients.region, "warnings": list(self.compute.warnings)}

    def pin_secrets(self, parameters: Sequence[str]) -> Mapping[str, str]:
        """Each parameter of SSM, by how it was asked for, with its version of now: what an instance fetches does not change behind its launch.

        No value is decrypted. Raises ProviderError naming all that are not there.
        """
        found: dict[str, str] = {}
        missing: list[str] = []
        wanted = sorted(set(parameters))
        for names in batches(wanted, PARAMETERS):
            with aws_errors(doing="looking at secrets"):
                answer = self._clients.client("ssm").get_parameters(Names=names, WithDecryption=False)
            for each in answer["Parameters"]:
                for name in filter(None, (each["Name"], each.get("ARN"))):
                    found.update(
                        dict.fromkeys((name, name + (each.get("Selector") or "")), f"{name}:{each['Version']}")
                    )
            missing += answer.get("InvalidParameters", [])
        if missing:
            raise ProviderError(
                f"secrets are missing: there is no parameter {', '.join(missing)} in SSM of {self._clients.region}"
            )
        return found

    def _by_balancer(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        """What no target group knows yet is well enough to be registered; there its checks say the rest."""
        return {each.id: self._watched(each.fleet).verdict(each.id) for each in instances}

    def _watched(self, fleet: str) -> CachedTraffic:
        self.traffic(fleet)
        return self._traffic[fleet]
