# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock of a store that has no kernel to hold it: a lease that a thread renews as long as the work under it lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .._core.errors import LeaseLostError
from .lease import TTL, Lease

RENEWALS = 6  # looks at the lease in the time that it lasts


@contextmanager
def held_lock(lease: Lease, wait: float, ttl: float = TTL) -> Iterator[None]:
    """Hold the lease. Raises LockedError before the work, LeaseLostError after it where somebody else took the lease over meanwhile."""
    lease.acquire(wait)
    keeper = _Keeper(lease, ttl / RENEWALS)
    keeper.start()
    try:
        yield
    finally:
        keeper.end()
        lease.release()
    if keeper.lost:
        raise keeper.lost


class _Keeper(threading.Thread):
    """A store that fails is tried again and again: nobody else may want the lease."""

    def __init__(self, lease: Lease, every: float) -> None:
        super().__init__(name=f"lease of {lease.name}", daemon=True)
        self._lease = lease
        self._every = every
        self._ended = threading.Event()
        self.lost: LeaseLostError | None = None

    def run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self._lease.need(0.0)
            except LeaseLostError as error:
                if not self._lease.epoch:  # somebody else has it now
                    self.lost = error
                    return

    def end(self) -> None:
        self._ended.set()
        self.join()
