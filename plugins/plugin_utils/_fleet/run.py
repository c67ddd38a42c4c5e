# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The skeleton of a run: observe, decide and act under the fleet's lease, until nothing is left to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

from .._core.errors import FleetError, GateError, ImmutableError, ProviderError
from .._core.progress import Report
from .._providers.contract import Clock, Instance
from .._store.base import Store
from .actions import AFTER_SWAP, BEFORE_SWAP, Gate
from .gates import MetricWatcher
from .ledger import Ledger
from .model import Intent, Status
from .ports import ChangePermit, Gates, Guard, Lease, Revoked

StepT = TypeVar("StepT")


@dataclass(frozen=True)
class RunOptions:
    """What the user chooses for one run."""

    lock_timeout: float = 0.0  # seconds to wait for another run's lease
    wait: bool = True  # False: end once only time has to pass; a later run continues
    approve: bool = False  # pass the gate that an earlier run paused at


@dataclass(frozen=True, kw_only=True)
class RunServices:
    """The external services that every run uses."""

    store: Store
    guard: Guard
    lease: Lease
    gates: Gates
    report: Report
    revoked: Revoked = dict


@dataclass(frozen=True)
class RetryPolicy:
    """How often a run retries after provider errors in a row, and how long it waits before each retry."""

    tries: int
    delay: float  # seconds before the first retry; each next delay is twice as long
    margin: float  # seconds that the lease must last beyond a delay


class FleetRun(ABC, Generic[StepT]):
    """One run on one fleet. A subclass observes, decides on the next step and carries it out.

    The lease is taken only if something must change, and the fleet is observed again once the lease is held. Each
    changing call needs ``_permit``. The store holds the intent before the first change. Nothing of a run outlives it
    except what provider and store hold, so the next run resumes an interrupted one.
    """

    retry_policy: ClassVar[RetryPolicy]

    def __init__(self, services: RunServices, clock: Clock, fleet: str, options: RunOptions) -> None:
        self._clock = clock
        self._fleet = fleet
        self._options = options
        self._lease = services.lease
        self._gates = services.gates
        self._revoked = services.revoked
        self._permit = ChangePermit(services.guard, services.lease)
        self._ledger = Ledger(services.store, fleet, self._permit)
        self._metrics = MetricWatcher(services.gates)
        self._intent = Intent(fleet)  # as last read or saved
        self._changed = False
        self._failures = 0  # provider errors in a row

    def run(self) -> dict[str, Any]:
        """Return the task's result. If nothing is due, no lease is taken and no changing call is made.

        Raises LockedError if another run holds the lease. Raises FleetError, GateError, LeaseLostError, AbandonedError,
        ProviderError or StoreError if the run fails; their details hold the result so far.
        """
        step = self._first_step()
        if self._ends_early(step):
            return self._result(step)
        self._lease.acquire(self._options.lock_timeout)
        try:
            resumed = self._load_intent()
            if resumed:
                self._note("resuming a swap that an earlier run began")
            self._prepare(step, resumed)
            return self._until_over()
        except ImmutableError as error:
            error.details = {**self._result(None), **error.details}
            raise
        finally:
            self._lease.release()

    def _until_over(self) -> dict[str, Any]:
        while True:
            try:
                result = self._carry_out(self._next_step())
                if result is not None:
                    return result
                self._failures = 0
            except ProviderError as error:
                self._wait_to_retry(error)
                self._after_failure(error)

    def _wait_to_retry(self, error: ProviderError) -> None:
        """A failed call may have had its effect all the same: the next observation shows it."""
        self._failures += 1
        policy = self.retry_policy
        if self._failures >= policy.tries or not self._may_retry(error):
            raise error
        self._note(f"retrying: {error.message}")
        delay = policy.delay * 2 ** (self._failures - 1)
        self._lease.need(delay + policy.margin)
        self._clock.wait(delay)

    def _load_intent(self) -> bool:
        """Read the intent to follow. Returns whether an earlier run began it."""
        self._intent, resumed = self._ledger.intent(self._requested(), self._now())
        return resumed

    def _begin(self, recipe: Mapping[str, Any] | None = None) -> None:
        """Write the intent to the store before the first change."""
        if not self._intent.begun:
            self._ledger.keep_recipe(self._intent.launch, recipe or {})
            self._save(replace(self._intent, begun=True))

    def _save(self, intent: Intent) -> None:
        self._ledger.save(intent)
        self._intent = intent

    def _remember(self, intent: Intent, event: str) -> None:
        """Save what became of the intent."""
        self._save(intent)
        self._note(event)

    def _pass_gate(self, gate: Gate, instances: Sequence[Instance]) -> None:
        """Remember the gate once it passes. Raises GateError if it does not.

        Raises FleetError instead for the gates before and after the swap: the image is not to blame, and the next run
        asks again.
        """
        self._permit.check()
        self._note(f"gate: {gate.name}")
        try:
            if gate.playbook:
                self._gates.play(gate, self._intent, instances)
            elif gate.metric:
                problem = self._gates.read(gate.metric)
                if problem:
                    raise GateError(problem)
        except GateError as error:
            if gate.name in (BEFORE_SWAP, AFTER_SWAP):
                raise FleetError(f"{gate.name}: {error.message}", **error.details) from error
            raise
        self._remember(replace(self._intent, passed=(*self._intent.passed, gate.name)), f"passed: {gate.name}")

    def _close(self, status: Status, reason: str = "") -> None:
        intent = replace(self._intent, status=status, reason=reason or self._intent.reason)
        self._ledger.close(intent, self._now(), self._record())

    def _now(self) -> float:
        return self._clock.now()

    @abstractmethod
    def _requested(self) -> Intent:
        """The intent as the user asks for it now."""

    @abstractmethod
    def _first_step(self) -> StepT:
        """Load the intent, observe and decide, without the lease."""

    @abstractmethod
    def _ends_early(self, step: StepT) -> bool:
        """Whether the run ends here, without the lease."""

    @abstractmethod
    def _prepare(self, step: StepT, resumed: bool) -> None:
        """Get ready to act, once the lease is held. ``step`` is what was decided without it."""

    @abstractmethod
    def _next_step(self) -> StepT:
        """Observe and decide."""

    @abstractmethod
    def _carry_out(self, step: StepT) -> dict[str, Any] | None:
        """Returns the task's result if the run ends with this step."""

    @abstractmethod
    def _may_retry(self, error: ProviderError) -> bool:
        """Whether a retry can help."""

    def _after_failure(self, error: ProviderError) -> None:  # noqa: B027  most need nothing
        """React to a provider error before the retry."""

    @abstractmethod
    def _note(self, event: str) -> None:
        """Add an event to the timeline."""

    @abstractmethod
    def _record(self) -> dict[str, Any]:
        """What the record of an ended swap holds besides its intent."""

    @abstractmethod
    def _result(self, step: StepT | None) -> dict[str, Any]:
        """The task's result. ``step`` is what the run ended with, or None if it failed."""
