# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find what killed bakes left at a provider, and take it away: never that of a bake that is still running, whose lock tells."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .._core.errors import LockedError
from .._core.guard import Guard
from .._core.progress import Report
from .._providers.contract import Leftover, Leftovers
from .._store.base import Store
from .catalogue import Catalogue


@dataclass(frozen=True)
class BakeSweeper:
    """Raises StoreError, ProviderError."""

    leftovers: Leftovers
    store: Store
    guard: Guard
    report: Report

    def look(self, older_than: float) -> list[Leftover]:
        """Those that are at least so many seconds old, or of unknown age."""
        found = self._find(older_than)
        free = {bake for bake in {each.bake for each in found} if not bake or self._ended(bake)}
        return [each for each in found if each.bake in free]

    def sweep(self, found: Sequence[Leftover]) -> list[Leftover]:
        """Take them away, and return what went. All is looked at again under the bakes' locks, so what became an image meanwhile stays."""
        with ExitStack() as locks:
            free = {""}
            for bake in {each.bake for each in found} - free:
                try:
                    locks.enter_context(self.store.lock(bake, "remove what a killed bake left"))
                except LockedError:
                    continue
                free.add(bake)
            named = {(each.kind, each.place, each.id) for each in found}
            still = [
                each for each in self._find(0.0) if each.bake in free and (each.kind, each.place, each.id) in named
            ]
            gone = list(self.leftovers.remove(still, self.guard.check)) if still else []
        for each in gone:
            self.report(f"{each.kind} {each.id} in {each.place} removed: {each.why}")
        return gone

    def _find(self, older_than: float) -> Sequence[Leftover]:
        return self.leftovers.find(older_than, [image.artifact for image in Catalogue(self.store).list()])

    def _ended(self, bake: str) -> bool:
        try:
            with self.store.lock(bake, "look for what a killed bake left"):
                return True
        except LockedError:
            return False
