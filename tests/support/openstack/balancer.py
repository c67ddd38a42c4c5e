# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A load balancer in memory, for servers that exist in a real OpenStack and have no address."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    DOWN,
    DRAIN,
    UP,
    Member,
    MemberState,
)


@dataclass
class Entry:
    staged: bool
    since: float
    draining: bool = False


class MemoryBalancer:
    """See ``contract.Traffic``. ``healthy`` has the members whose checks pass; all by default."""

    shared = False

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.unhealthy: set[str] = set()
        self._exists = False

    def ensure(self) -> bool:
        missing, self._exists = not self._exists, True
        return missing

    def check_deadline(self, deadline: float) -> None:
        """Accepts every deadline."""

    def members(self) -> list[Member]:
        return [self._member(name, entry) for name, entry in self.entries.items()]

    def serving(self) -> set[str]:
        return {member.id for member in self.members() if member.state == UP}

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        for name in endpoints:
            entry = self.entries.get(name)
            if entry is None or entry.draining or (entry.staged and not staged):
                self.entries[name] = Entry(staged, time.time())

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        for name in on:
            self.entries[name] = Entry(False, time.time())
        self.drain([name for name in off if name in self.entries], 0.0)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        for name in ids:
            if name in self.entries and not self.entries[name].draining:
                self.entries[name] = Entry(False, time.time(), draining=True)

    def drain_time(self) -> float | None:
        return None

    def deregister(self, ids: Sequence[str]) -> None:
        for name in ids:
            self.entries.pop(name, None)

    def remove(self) -> None:
        self.entries.clear()
        self._exists = False

    def describe(self) -> dict[str, Any]:
        return {"kind": "memory", "endpoint": "http://192.0.2.254/"}

    def _member(self, name: str, entry: Entry) -> Member:
        passing = name not in self.unhealthy
        state: MemberState = DRAIN if entry.draining or entry.staged else UP if passing else DOWN
        return Member(id=name, state=state, in_flight=0, since=entry.since, passing=passing)
