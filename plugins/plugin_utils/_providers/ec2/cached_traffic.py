# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A load balancer that remembers its members as last read, so that probing needs no further call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contract import DOWN, Member, Traffic


class CachedTraffic:
    """See ``contract.Traffic``."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._members: dict[str, Member] = {}  # by instance id, as last read

    @property
    def shared(self) -> bool:
        return self._traffic.shared

    def verdict(self, instance_id: str) -> bool | str:
        """Whether an instance is healthy according to the members as last read: True, or the reason why not.

        An instance that is no member yet counts as healthy enough to be registered.
        """
        member = self._members.get(instance_id)
        return "the target group's checks do not pass" if member and member.state == DOWN else True

    def ensure(self) -> bool:
        return self._traffic.ensure()

    def check_deadline(self, deadline: float) -> None:
        self._traffic.check_deadline(deadline)

    def members(self) -> list[Member]:
        found = self._traffic.members()
        self._members = {member.id: member for member in found}
        return found

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        self._traffic.register(endpoints, staged)

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        self._traffic.switch(on, off)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        self._traffic.drain(ids, timeout)

    def drain_time(self) -> float | None:
        return self._traffic.drain_time()

    def deregister(self, ids: Sequence[str]) -> None:
        self._traffic.deregister(ids)

    def remove(self) -> None:
        self._traffic.remove()

    def describe(self) -> dict[str, Any]:
        return self._traffic.describe()
