# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find what no fleet owns at a provider and remove it on request. Data volumes are removed only if they are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..._core.errors import FleetError
from ..._core.progress import Report
from ..._images.leftovers import BakeSweeper
from ..._providers.bake_leftovers import Leftover
from ..._providers.contract import Provider
from ..._store.base import Store
from ..ledger import Ledger
from ..ports import ChangePermit
from .orphans import INSTANCE, REGISTRATION, VOLUME, FleetInventory, Orphan, orphans

STOP_TIMEOUT = 60.0  # seconds that an instance may take to shut down before it is powered off
REMOVE_TIMEOUT = 60.0  # seconds that it may take after that until it is gone
CALL_TIMEOUT = 30.0  # seconds that one changing call may take


@dataclass(frozen=True)
class OrphanSweeper:
    """Finds and removes orphans of fleets."""

    provider: Provider
    store: Store
    permit: Callable[[str], ChangePermit]  # to change the fleet of that name
    report: Report

    def find(self, older_than: float = 0.0, fleet: str | None = None) -> list[Orphan]:
        """Find orphans of one fleet, or of all.

        Only those are returned that are at least ``older_than`` seconds old or of unknown age.
        """
        names = [fleet] if fleet else list(self.provider.compute.fleets())
        found = [orphan for name in names for orphan in orphans(self._inventory(name), self.provider.clock.now())]
        return [orphan for orphan in found if orphan.age is None or orphan.age >= older_than]

    def sweep(self, found: Sequence[Orphan], volumes: Sequence[str]) -> list[Orphan]:
        """Remove instances, registrations and the named volumes. Returns what was removed.

        Each fleet is observed again under its lease, so what another run uses by then stays.
        Raises FleetError for a named volume that is no orphan, LockedError, ProviderError.
        """
        known = {orphan.id for orphan in found if orphan.kind == VOLUME}
        unknown = sorted(set(volumes) - known)
        if unknown:
            raise FleetError(
                f"volumes: {', '.join(unknown)} is no orphan (orphaned volumes: {', '.join(sorted(known)) or 'none'})"
            )
        removed: list[Orphan] = []
        for fleet in dict.fromkeys(orphan.fleet for orphan in found if orphan.kind != VOLUME or orphan.id in volumes):
            permit = self.permit(fleet)
            with permit.held():
                wanted = {(orphan.kind, orphan.id) for orphan in found if orphan.fleet == fleet}
                still = [orphan for orphan in self.find(fleet=fleet) if (orphan.kind, orphan.id) in wanted]
                removed += self._remove(fleet, still, volumes, permit)
        return removed

    def _remove(
        self, fleet: str, found: Sequence[Orphan], volumes: Sequence[str], permit: ChangePermit
    ) -> list[Orphan]:
        traffic = self.provider.traffic(fleet)
        members = {member.id for member in traffic.members()}
        instances = [orphan.id for orphan in found if orphan.kind == INSTANCE]
        registered = [orphan.id for orphan in found if orphan.kind in (INSTANCE, REGISTRATION) and orphan.id in members]
        if registered:
            permit.check(CALL_TIMEOUT)
            traffic.deregister(registered)
        if instances:
            permit.check(CALL_TIMEOUT)
            self.provider.compute.remove(instances)
            self._wait_until_gone(fleet, set(instances), permit)
        data = [orphan.id for orphan in found if orphan.kind == VOLUME and orphan.id in volumes]
        if data:
            permit.check(CALL_TIMEOUT)
            self.provider.volumes.remove(data)
        removed = [orphan for orphan in found if orphan.kind != VOLUME or orphan.id in data]
        for orphan in removed:
            self.report(f"{orphan.kind} {orphan.id} of {orphan.fleet} removed: {orphan.why}")
        return removed

    def _wait_until_gone(self, fleet: str, ids: set[str], permit: ChangePermit) -> None:
        clock, compute = self.provider.clock, self.provider.compute
        began, powered_off = clock.now(), False
        while found := [instance for instance in compute.list(fleet) if instance.id in ids]:
            left = [instance.id for instance in found]
            waited = clock.now() - began
            if waited > STOP_TIMEOUT + REMOVE_TIMEOUT:
                raise FleetError(f"{', '.join(left)} of {fleet} still exist after {waited:.0f} s; run again")
            permit.check(CALL_TIMEOUT)
            if down := [instance.id for instance in found if instance.awaits_removal]:
                compute.remove(down)
            if waited > STOP_TIMEOUT and not powered_off:
                compute.power_off(left)
                powered_off = True
            clock.wait(1.0)

    def _inventory(self, fleet: str) -> FleetInventory:
        provider, traffic = self.provider, self.provider.traffic(fleet)
        return FleetInventory(
            fleet,
            Ledger(self.store, fleet).last(),
            instances=provider.compute.list(fleet),
            volumes=provider.volumes.list(fleet),
            members=traffic.members(),
            shared=traffic.shared,
        )


@dataclass(frozen=True)
class Sweep:
    """Finds and removes both the orphans of fleets and what killed bakes left."""

    orphans: OrphanSweeper
    bakes: BakeSweeper | None  # None if the provider has no leftovers of bakes

    def run(self, older_than: float, volumes: Sequence[str], *, remove: bool, check_mode: bool) -> dict[str, Any]:
        """Return the result of the task, always with ``diff``.

        Args:
            older_than: seconds; younger things are left alone.
            volumes: ids of the volumes that may be removed.

        Raises FleetError, LockedError, ProviderError, StoreError.
        """
        orphaned = self.orphans.find(older_than)
        left = self.bakes.find(older_than) if self.bakes else []
        removed: list[Orphan | Leftover] = []
        if remove and check_mode:
            removed = [*(orphan for orphan in orphaned if orphan.kind != VOLUME or orphan.id in volumes), *left]
        elif remove:
            removed = [
                *self.orphans.sweep(orphaned, volumes),
                *(self.bakes.sweep(left) if self.bakes and left else []),
            ]
        found: list[Orphan | Leftover] = [*orphaned, *left]
        return {
            "changed": bool(removed),
            "orphans": [_as_dict(each) for each in found],
            "removed": [_as_dict(each) for each in removed],
            "diff": _diff(found, removed),
        }


def _as_dict(found: Orphan | Leftover) -> dict[str, Any]:
    """Return both kinds with the same keys. A leftover has no fleet and no slot, an orphan no place and no bake."""
    return {"fleet": "", "slot": None, "place": "", "bake": "", **asdict(found)}


def _diff(found: Sequence[Orphan | Leftover], removed: Sequence[Orphan | Leftover]) -> dict[str, str]:
    lines = {(each.kind, each.id): f"{each.kind} {each.id}: {each.why}\n" for each in found}
    gone = {(each.kind, each.id) for each in removed}
    return {
        "before": "".join(lines.values()),
        "after": "".join(line for key, line in lines.items() if key not in gone),
    }
