# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated load balancers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._core.errors import TrafficError
from ..contract import Member
from .clock import NEVER
from .world import ALL_FLEETS, BalancerEntry, World


class SimulatedTraffic:
    """The load balancer of one fleet, see ``contract.Traffic``."""

    shared = False

    def __init__(self, world: World, fleet: str) -> None:
        self._world = world
        self._fleet = fleet

    def ensure(self) -> bool:
        missing = not self._world.balances(self._fleet)
        if missing:
            self._world.change("ensure", [self._fleet], self._world.balancers.add)
        return missing

    def check_deadline(self, deadline: float) -> None:
        """Accepts every deadline: a simulation shows what becomes of it."""

    def members(self) -> list[Member]:
        return list(self._world.read("members", self._fleet, self._members))

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        """A balancer that forgets drained members treats a draining one like a new one."""

        def effect(instance_id: str) -> None:
            self._require_balancer()
            now, entry = self._world.clock.now(), self._world.members.get(instance_id)
            if entry is None or (entry.draining and self._world.forgets_drained):
                self._world.members[instance_id] = BalancerEntry(
                    now, staged=staged, checked_since=now, fleet=self._fleet
                )
            elif entry.draining or (entry.staged and not staged):
                self._serve(entry, staged)

        self._world.change("register", list(endpoints), effect)

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """Refuses to put an instance in service that is no member."""

        def effect(_switch: str) -> None:
            self._require_balancer()
            missing = [instance_id for instance_id in on if instance_id not in self._world.members]
            if missing:
                raise TrafficError(f"no members of the balancer: {', '.join(missing)}")
            for instance_id in on:
                entry = self._world.members[instance_id]
                if entry.staged or entry.draining:
                    self._serve(entry, staged=False)
            for instance_id in off:
                self._drain(instance_id, NEVER)

        self._world.change("switch", ["all at once"], effect)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        self._world.change("drain", ids, lambda instance_id: self._drain(instance_id, timeout))

    def drain_time(self) -> float | None:
        return None

    def deregister(self, ids: Sequence[str]) -> None:
        def effect(instance_id: str) -> None:
            self._world.members.pop(instance_id, None)

        self._world.change("deregister", ids, effect)

    def remove(self) -> None:
        def effect(_fleet: str) -> None:
            self._world.balancers -= {self._fleet, ALL_FLEETS}
            for instance_id, _entry in self._entries():
                del self._world.members[instance_id]

        if self._world.balances(self._fleet):
            self._world.change("remove_traffic", [self._fleet], effect)

    def describe(self) -> dict[str, Any]:
        return {"kind": "simulated", "endpoint": "http://192.0.2.254/"}

    def _members(self) -> list[Member]:
        if not self._world.balances(self._fleet):
            return []
        return [self._world.member(instance_id, entry) for instance_id, entry in self._entries()]

    def _entries(self) -> list[tuple[str, BalancerEntry]]:
        members = self._world.members.items()
        return [(instance_id, entry) for instance_id, entry in members if entry.fleet in ("", self._fleet)]

    def _require_balancer(self) -> None:
        if not self._world.balances(self._fleet):
            raise TrafficError("there is no balancer")

    def _serve(self, entry: BalancerEntry, staged: bool) -> None:
        """The member was checked all along, so it serves at once if its checks pass."""
        entry.checked_since = entry.since if entry.checked_since is None else entry.checked_since
        entry.since, entry.draining, entry.staged, entry.forget_at = self._world.clock.now(), False, staged, NEVER

    def _drain(self, instance_id: str, timeout: float) -> None:
        entry, now = self._world.members.get(instance_id), self._world.clock.now()
        if entry is None:
            return
        entry.forget_at = min(entry.forget_at, now + timeout)
        if entry.draining:
            return
        entry.checked_since = entry.since if entry.checked_since is None else entry.checked_since
        if not entry.staged:  # a staged member never had a request
            entry.busy_until = now + self._world.latencies_of(self._world.machines.get(instance_id)).drain
        entry.since, entry.draining, entry.staged = now, True, False
