# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's load balancer on OpenStack: a pool of Octavia that belongs to the user.

The pool, its listener and its health monitor are never created, changed or deleted. Of its members, only the fleet's
own are changed. A member with weight 0 is checked and gets no new request: so it is staged, and so it is drained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._core.errors import ProviderError, TrafficError
from ..._openstack.connect import Connections
from ..._openstack.errors import CONFLICT
from ..._openstack.rest import Rest
from ..._providers.contract import Member
from .members import (
    IN_SERVICE,
    OUT_OF_SERVICE,
    PoolMember,
    endpoint_of,
    members_of,
    require_deadline,
    wanted_member,
)

POLL_SECONDS = 0.5
TIMEOUT = 25.0  # seconds for Octavia to finish an earlier change; what takes longer is tried again
IMMUTABLE = "immutable"  # Octavia's word for a load balancer that accepts no change at present
ACTIVE, ERROR = "ACTIVE", "ERROR"  # provisioning statuses


class OctaviaPool:
    """See ``contract.Traffic``. Octavia does not say since when a member is in its state, so this object remembers it.

    Args:
        pool: its ID.
        now: the time, in seconds since the epoch.
    """

    kind = "octavia"
    shared = False  # members of others are never shown

    def __init__(
        self, connections: Connections, fleet: str, pool: str, *, now: Callable[[], float] = time.time
    ) -> None:
        self._octavia = Rest(connections, "load_balancer", TrafficError)
        self._fleet = fleet
        self._pool = pool
        self._path = f"/lbaas/pools/{pool}"
        self._now = now
        self._described: Mapping[str, Any] | None = None  # the pool, as read once
        self._since: dict[str, tuple[str, float]] = {}  # by instance id: its state, and when it was first observed
        self._description: dict[str, Any] | None = None

    def ensure(self) -> bool:
        """Check once in a process that the pool exists. There is nothing to start."""
        self._describe_pool()
        return False

    def check_deadline(self, deadline: float) -> None:
        if monitor := self._describe_pool().get("healthmonitor_id"):
            answer = self._octavia.get(f"/lbaas/healthmonitors/{monitor}", "reading the health monitor")
            require_deadline(answer.get("healthmonitor", {}), self._pool, deadline)

    def members(self) -> list[Member]:
        found, now = self._members(), self._now()
        self._since = {one.id: self._since_of(one, now) for one in found}
        return [
            Member(one.id, one.state, in_flight=None, since=self._since[one.id][1], passing=one.passing)
            for one in found
        ]

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        present = {one.id: one for one in self._members()}
        moved = [one for name, one in present.items() if name in endpoints and _endpoint(one) != endpoints[name]]
        self._remove(moved)
        wanted = []
        for name, endpoint in endpoints.items():
            one = present.get(name)
            in_service = one is not None and one.weight != OUT_OF_SERVICE  # and stays so, also if it is staged
            weight = OUT_OF_SERVICE if staged and not in_service else IN_SERVICE
            if one is None or one in moved or one.weight != weight:
                wanted.append(wanted_member(self._fleet, name, endpoint, weight))
        self._put(wanted, "registering members")

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """One request for all: Octavia gives its HAProxy the new weights at the same time."""
        present = {one.id: one for one in self._members()}
        unknown = [name for name in on if name not in present]
        if unknown:
            raise TrafficError(
                f"{', '.join(unknown)} cannot be put in service: the pool does not know it (register it first)"
            )
        weights = {**dict.fromkeys(off, OUT_OF_SERVICE), **dict.fromkeys(on, IN_SERVICE)}
        self._weigh(weights, present, "switching members")

    def drain(self, ids: Sequence[str], timeout: float) -> None:  # noqa: ARG002  Octavia keeps drained members
        self._weigh(dict.fromkeys(ids, OUT_OF_SERVICE), {one.id: one for one in self._members()}, "draining members")

    def drain_time(self) -> float | None:
        return None

    def deregister(self, ids: Sequence[str]) -> None:
        self._remove([one for one in self._members() if one.id in ids])

    def remove(self) -> None:
        """The pool stays, without members of the fleet."""
        self._remove(self._members())

    def describe(self) -> dict[str, Any]:
        if self._description is None:
            pool = self._describe_pool()
            balancers, listeners = pool.get("loadbalancers") or (), pool.get("listeners") or ()
            endpoint = None
            if balancers and listeners:
                balancer = self._octavia.get(f"/lbaas/loadbalancers/{balancers[0]['id']}", "reading the load balancer")
                listener = self._octavia.get(f"/lbaas/listeners/{listeners[0]['id']}", "reading the listener")
                endpoint = endpoint_of(balancer.get("loadbalancer", {}), listener.get("listener", {}))
            unchecked = f"pool {self._pool} has no health monitor, so every member counts as healthy"
            warnings = [] if pool.get("healthmonitor_id") else [unchecked]
            self._description = {"kind": self.kind, "endpoint": endpoint, "pool": self._pool, "warnings": warnings}
        return dict(self._description)

    def _describe_pool(self) -> Mapping[str, Any]:
        if self._described is None:
            found = self._octavia.find(self._path, f"reading pool {self._pool}")
            if not found or not isinstance(found.get("pool"), Mapping):
                raise TrafficError(f"traffic.pool: there is no pool {self._pool}", permanent=True)
            self._described = found["pool"]
        return self._described

    def _members(self) -> list[PoolMember]:
        return members_of(self._octavia.pages(f"{self._path}/members", "members", "reading members"), self._fleet)

    def _since_of(self, one: PoolMember, now: float) -> tuple[str, float]:
        state, since = self._since.get(one.id, ("", now))
        return (state, since) if state == one.state else (one.state, now)

    def _weigh(self, weights: Mapping[str, int], present: Mapping[str, PoolMember], doing: str) -> None:
        """Give members their weights, apart from those that have them and those that are not there."""
        changed = [(present[name], weight) for name, weight in weights.items() if name in present]
        wanted = [
            wanted_member(self._fleet, one.id, _endpoint(one), weight)
            for one, weight in changed
            if one.weight != weight
        ]
        self._put(wanted, doing)

    def _put(self, wanted: Sequence[Mapping[str, Any]], doing: str) -> None:
        """Create or change members by one request, and leave all others as they are."""
        if wanted:
            path = f"{self._path}/members?additive_only=true"
            self._change(lambda: self._octavia.put(path, {"members": list(wanted)}, doing))

    def _remove(self, members: Sequence[PoolMember]) -> None:
        for one in members:
            path = f"{self._path}/members/{one.member_id}"
            self._change(lambda path=path: self._octavia.delete(path, "removing a member"))  # type: ignore[misc]

    def _change(self, call: Callable[[], object]) -> None:
        """Make a change as soon as Octavia has finished the last one: until then it refuses all others."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                call()
                return
            except ProviderError as error:
                if error.code != CONFLICT or IMMUTABLE not in error.message or time.monotonic() > deadline:
                    raise
            self._wait_until_active(deadline)

    def _wait_until_active(self, deadline: float) -> None:
        """Wait until the load balancer accepts a change, or the deadline.

        Octavia reports no events to the members of a project, so its status is read.

        Raises TrafficError if the load balancer has failed, which no wait changes.
        """
        for balancer in self._describe_pool().get("loadbalancers") or ():
            path, status = f"/lbaas/loadbalancers/{balancer['id']}", ""
            while status != ACTIVE and time.monotonic() <= deadline:
                time.sleep(POLL_SECONDS)
                status = self._octavia.get(path, "reading the load balancer")["loadbalancer"]["provisioning_status"]
                if status == ERROR:
                    raise TrafficError(
                        f"the load balancer {balancer['id']} of pool {self._pool} has the status {ERROR}, in which "
                        "Octavia changes nothing (an administrator can fail it over); then run again"
                    )


def _endpoint(one: PoolMember) -> tuple[str, int]:
    return one.address, one.port
