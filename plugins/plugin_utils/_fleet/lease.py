# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One writer per fleet, by a lease in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._core.processes import process_alive
from .._store import lease
from .._store.base import Store
from .._store.lease import MARGIN, POLL, TTL, Clock, SystemClock, monotonic_seconds

__all__ = ["MARGIN", "POLL", "TTL", "Lease", "SystemClock"]


class Lease(lease.Lease):
    """The right to change one fleet."""

    advice = "wait for it (lock_timeout)"

    def __init__(
        self,
        store: Store,
        fleet: str,
        purpose: str,
        clock: Clock,
        *,
        ttl: float = TTL,
        monotonic: Callable[[], float] = monotonic_seconds,
        alive: Callable[[Mapping[str, Any]], bool | None] = process_alive,
        longest_call: float = 0.0,
    ) -> None:
        """See ``_store/lease.Lease``.

        Args:
            longest_call: seconds that one changing call of the provider may take, including its retries.
        """
        super().__init__(
            store,
            f"leases/{fleet}.json",
            name=fleet,
            purpose=purpose,
            clock=clock,
            ttl=ttl,
            monotonic=monotonic,
            alive=alive,
        )
        self.fleet = fleet
        self._longest_call = longest_call

    def need_for_call(self, seconds: float) -> None:
        """Make sure that the lease outlasts a changing call of the provider. See ``need``.

        Args:
            seconds: that the call takes at most, if the provider does not need more for its retries.
        """
        self.need(max(seconds, self._longest_call))
