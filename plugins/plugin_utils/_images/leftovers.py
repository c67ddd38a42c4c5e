# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds and removes what killed bakes left behind at a provider. Running bakes hold a lock and are skipped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .._core.errors import LockedError
from .._core.guard import Guard
from .._core.progress import Report
from .._providers.bake_leftovers import Leftover, Leftovers
from .._store.base import Store
from .catalogue import Catalogue


@dataclass(frozen=True)
class BakeSweeper:
    """Sweeps the leftovers of bakes. Methods raise StoreError and ProviderError."""

    leftovers: Leftovers
    store: Store
    guard: Guard
    report: Report

    def find(self, older_than: float) -> list[Leftover]:
        """Return the leftovers that are at least this many seconds old, or of unknown age."""
        found = self._find(older_than)
        ended = {bake for bake in {leftover.bake for leftover in found} if self._has_ended(bake)}
        return [leftover for leftover in found if leftover.bake in ended]

    def sweep(self, found: Sequence[Leftover]) -> list[Leftover]:
        """Remove leftovers and return the removed ones.

        Checks again under the bakes' locks, because one may be an image by now.
        """
        with ExitStack() as locks:
            ended: set[str] = set()
            for bake in {leftover.bake for leftover in found}:
                try:
                    locks.enter_context(self.store.lock(bake, "remove what a killed bake left behind"))
                except LockedError:
                    continue
                ended.add(bake)
            wanted = {_identity(leftover) for leftover in found}
            confirmed = [
                leftover for leftover in self._find(0.0) if leftover.bake in ended and _identity(leftover) in wanted
            ]
            removed = list(self.leftovers.remove(confirmed, self.guard.check)) if confirmed else []
        for leftover in removed:
            self.report(f"{leftover.kind} {leftover.id} in {leftover.place} removed: {leftover.why}")
        return removed

    def _find(self, older_than: float) -> Sequence[Leftover]:
        return self.leftovers.find(older_than, [image.artifact for image in Catalogue(self.store).list()])

    def _has_ended(self, bake: str) -> bool:
        try:
            with self.store.lock(bake, "look for what a killed bake left behind"):
                return True
        except LockedError:
            return False


def _identity(leftover: Leftover) -> tuple[str, str, str]:
    return leftover.kind, leftover.place, leftover.id
