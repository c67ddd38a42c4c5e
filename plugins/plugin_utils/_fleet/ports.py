# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The interfaces of what a run uses, and the permit that precedes each changing call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from .._definition.model import Metric
from .._providers.contract import Instance
from .actions import Gate
from .model import Intent

# Returns why images must not be put in service, by digest.
Revoked = Callable[[], Mapping[str, str]]


class Guard(Protocol):
    """Knows whether the controlling process is alive."""

    def check(self) -> None:
        """Raises AbandonedError once the controlling process is gone and nothing may be changed any more."""


class Lease(Protocol):
    """The right to change one fleet. ``_fleet/lease`` implements it with a document in the store."""

    @property
    def took_over(self) -> str | None:
        """What ``free_version`` returned right before the lease was acquired; None if that is unknown."""

    def free_version(self) -> str | None:
        """The version of the lease if no one holds it, else None. Raises StoreError."""

    def acquire(self, wait: float = 0.0) -> None:
        """Raises LockedError if another run still holds the lease after ``wait`` seconds; StoreError."""

    def need(self, seconds: float) -> None:
        """Renew the lease if it would expire within ``seconds``. Raises LeaseLostError."""

    def need_for_call(self, seconds: float) -> None:
        """The same for a changing call of the provider, which may take longer because it is retried."""

    def release(self) -> None:
        """Let other runs hold the lease."""


class Gates(Protocol):
    """Playbooks and metrics that decide whether a swap may continue."""

    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None:
        """Run the gate's playbook to its end.

        Raises GateError if it fails; LeaseLostError and AbandonedError if the run may not continue.

        Args:
            instances: all instances of the fleet.
        """

    def read(self, metric: Metric) -> str:
        """Return "" if the metric is within its bounds, else the reason in one line.

        A metric that cannot be read is out of bounds.
        """


class NoGuard:
    """Never stops a run: for predictions and tests."""

    def check(self) -> None:
        pass


class NoLease:
    """Is always held: for runs that change nothing outside this process."""

    took_over: str | None = None

    def free_version(self) -> str | None:
        return None

    def acquire(self, wait: float = 0.0) -> None:
        pass

    def need(self, seconds: float) -> None:
        pass

    def need_for_call(self, seconds: float) -> None:
        pass

    def release(self) -> None:
        pass


@dataclass(frozen=True)
class ChangePermit:
    """The check before each changing call: the controlling process is alive, and the lease outlasts the call."""

    guard: Guard = field(default_factory=NoGuard)
    lease: Lease = field(default_factory=NoLease)

    def check(self, seconds: float = 0.0) -> None:
        """Check right before a call that takes at most ``seconds``: 0 for a write to the store.

        Raises AbandonedError, LeaseLostError.
        """
        self.guard.check()
        if seconds:
            self.lease.need_for_call(seconds)
        else:
            self.lease.need(0.0)

    @contextmanager
    def held(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the lease for a block.

        Raises LockedError if another run still holds it after ``wait`` seconds; StoreError.
        """
        self.lease.acquire(wait)
        try:
            yield
        finally:
            self.lease.release()
