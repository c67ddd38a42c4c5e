# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find what no fleet owns at a provider, and take it away where that is asked for. Data goes only by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..._core.errors import FleetError
from ..._core.progress import Report
from ..._providers.contract import Provider
from ..._store.base import Store
from ..ledger import Ledger
from ..ports import Guard, Lease
from .orphans import INSTANCE, REGISTRATION, VOLUME, FleetInventory, Orphan, orphans

STOP_TIMEOUT = 60.0  # seconds that an instance may take to shut down before it is powered off
GONE = 60.0  # and after that, to be gone
CALL = 30.0  # seconds that a changing call may take


@dataclass(frozen=True)
class OrphanSweeper:
    provider: Provider
    store: Store
    guard: Guard
    lease: Callable[[str], Lease]  # of a fleet
    report: Report

    def look(self, older_than: float = 0.0, fleet: str | None = None) -> list[Orphan]:
        """Those that are at least so many seconds old, or of unknown age; of one fleet or of all."""
        names = [fleet] if fleet else list(self.provider.compute.fleets())
        found = [orphan for name in names for orphan in orphans(self._seen(name), self.provider.clock.now())]
        return [each for each in found if each.age is None or each.age >= older_than]

    def sweep(self, found: Sequence[Orphan], volumes: Sequence[str]) -> list[Orphan]:
        """Take away instances and registrations, and those volumes that are named. Returns what was taken away.

        Each fleet is looked at again under its lease, so what somebody has begun to use meanwhile stays.
        Raises FleetError for a named volume that is no orphan, LockedError, ProviderError.
        """
        known = {each.id for each in found if each.kind == VOLUME}
        unknown = sorted(set(volumes) - known)
        if unknown:
            raise FleetError(
                f"volumes: {', '.join(unknown)} is no orphan (orphaned are: {', '.join(sorted(known)) or 'none'})"
            )
        taken: list[Orphan] = []
        for fleet in dict.fromkeys(each.fleet for each in found if each.kind != VOLUME or each.id in volumes):
            lease = self.lease(fleet)
            lease.acquire()
            try:
                wanted = {(each.kind, each.id) for each in found if each.fleet == fleet}
                still = [each for each in self.look(fleet=fleet) if (each.kind, each.id) in wanted]
                taken += self._take(fleet, still, volumes, lease)
            finally:
                lease.release()
        return taken

    def _take(self, fleet: str, found: Sequence[Orphan], volumes: Sequence[str], lease: Lease) -> list[Orphan]:
        traffic = self.provider.traffic(fleet)
        registered = {each.id for each in traffic.members()}
        instances = [each.id for each in found if each.kind == INSTANCE]
        out = [each.id for each in found if each.kind in (INSTANCE, REGISTRATION) and each.id in registered]
        if out:
            self._may(lease)
            traffic.deregister(out)
        if instances:
            self._may(lease)
            self.provider.compute.remove(instances)
            self._until_gone(fleet, set(instances), lease)
        data = [each.id for each in found if each.kind == VOLUME and each.id in volumes]
        if data:
            self._may(lease)
            self.provider.volumes.remove(data)
        taken = [each for each in found if each.kind != VOLUME or each.id in data]
        for each in taken:
            self.report(f"{each.kind} {each.id} of {each.fleet} removed: {each.why}")
        return taken

    def _until_gone(self, fleet: str, ids: set[str], lease: Lease) -> None:
        clock, compute = self.provider.clock, self.provider.compute
        began, hurried = clock.now(), False
        while left := [each.id for each in compute.list(fleet) if each.id in ids]:
            waited = clock.now() - began
            if waited > STOP_TIMEOUT + GONE:
                raise FleetError(f"{', '.join(left)} of {fleet} did not go within {waited:.0f} s; run again")
            self._may(lease)
            if waited > STOP_TIMEOUT and not hurried:
                compute.power_off(left)
                hurried = True
            clock.wait(1.0)

    def _seen(self, fleet: str) -> FleetInventory:
        provider = self.provider
        intent = Ledger(self.store, fleet).last()
        return FleetInventory(
            fleet, intent, provider.compute.list(fleet), provider.volumes.list(fleet), provider.traffic(fleet).members()
        )

    def _may(self, lease: Lease) -> None:
        self.guard.check()
        lease.need(CALL)
