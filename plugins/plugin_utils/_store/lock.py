# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock for stores without kernel locks: a lease that a thread renews until the work is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .._core.errors import LeaseLostError
from .lease import TTL, Lease

CHECKS_PER_TTL = 6  # how often the lease is checked in the time that it lasts


@contextmanager
def held_lock(lease: Lease, wait: float, ttl: float = TTL) -> Iterator[None]:
    """Hold the lease during the work of the caller.

    Args:
        wait: maximum seconds to wait for the lease.
        ttl: seconds in which the lease is checked CHECKS_PER_TTL times.

    Raises LockedError before the work if another process holds the lease, and LeaseLostError after the work if another
    process took the lease over in the meantime.
    """
    lease.acquire(wait)
    renewer = _Renewer(lease, ttl / CHECKS_PER_TTL)
    renewer.start()
    try:
        yield
    finally:
        renewer.stop()
        lease.release()
    if renewer.lost:
        raise renewer.lost


class _Renewer(threading.Thread):
    """Renews a lease. It keeps retrying while the store fails, because no other process may want the lease."""

    def __init__(self, lease: Lease, interval: float) -> None:
        super().__init__(name=f"lease of {lease.name}", daemon=True)
        self._lease = lease
        self._interval = interval  # seconds
        self._stopped = threading.Event()
        self.lost: LeaseLostError | None = None  # set if another process took the lease over

    def run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self._lease.need(0.0)
            except LeaseLostError as error:
                if not self._lease.epoch:  # another process has it
                    self.lost = error
                    return

    def stop(self) -> None:
        self._stopped.set()
        self.join()
