# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control loop that every run shares: observe, decide and act under the lease, until nothing is left to do."""

from __future__ import annotations

import math
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
    """Options that the user sets for one run."""

    lock_timeout: float = 0.0  # seconds to wait for another run's lease
    wait: bool = True  # if False, end the run instead of waiting; a later run resumes
    approve: bool = False  # approve the gate at which an earlier run paused


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
    """How many times a run retries after consecutive provider errors, and how long it waits before each retry."""

    tries: int
    delay: float  # seconds before the first retry; the delay doubles on each retry
    margin: float  # seconds that the lease must last beyond a delay
    # Seconds for which failed observations are retried, if nothing that goes on meanwhile needs this run. Such retries
    # are not counted in ``tries``. The run keeps its lease for as long.
    patience: float = 0.0
    longest_delay: float = math.inf  # seconds


class FleetRun(ABC, Generic[StepT]):
    """One run on one fleet. A subclass observes, decides on the next step and carries it out.

    The run acquires the lease only if something must change. Once it holds the lease, it observes the fleet again. Each
    changing call needs ``_permit``. The run saves the intent in the store before the first change. All state is kept in
    the provider and the store, so the next run can resume an interrupted one.
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
        self._failures = 0  # consecutive provider errors
        self._observing = False  # whether a provider error is that of an observation
        self._observed_at = self._now()  # the last time that an observation was complete

    @property
    def intent(self) -> Intent:
        """The intent as last read, saved or predicted."""
        return self._intent

    def run(self) -> dict[str, Any]:
        """Run until nothing is left to do, and return the task's result.

        If nothing is due, the run acquires no lease and makes no changing call.

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
                self._observing = True
                step = self._next_step()
                self._observing, self._observed_at = False, self._now()
                result = self._carry_out(step)
                if result is not None:
                    return result
                self._failures = 0
            except ProviderError as error:
                self._wait_to_retry(error)
                self._after_failure(error)

    def _wait_to_retry(self, error: ProviderError) -> None:
        """Wait before a retry, or raise the error. The next observation shows whether the failed call had an effect."""
        self._failures += 1
        policy = self.retry_policy
        patient = self._observing and self._now() - self._observed_at < policy.patience
        if not (patient or self._failures < policy.tries) or not self._may_retry(error):
            raise self._last_error(error)
        self._note(f"retrying: {error.message}")
        delay = min(policy.delay * 2 ** (self._failures - 1), policy.longest_delay)
        self._lease.need(delay + policy.margin)
        self._clock.wait(delay)

    def _load_intent(self) -> bool:
        """Read the intent to follow. Return whether an earlier run started it."""
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
        """Save the updated intent and add an event to the timeline."""
        self._save(intent)
        self._note(event)

    def _pass_gate(self, gate: Gate, instances: Sequence[Instance]) -> None:
        """Evaluate the gate and record that it passed.

        Raises GateError if it does not pass. For the gates before and after the swap, raises FleetError instead: the
        image is not the cause, and the next run evaluates the gate again.
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
        """Return the intent that the user currently requests."""

    @abstractmethod
    def _first_step(self) -> StepT:
        """Load the intent, observe and decide, without the lease."""

    @abstractmethod
    def _ends_early(self, step: StepT) -> bool:
        """Return whether the run ends here, without the lease."""

    @abstractmethod
    def _prepare(self, step: StepT, resumed: bool) -> None:
        """Prepare to act, once the run holds the lease. ``step`` was decided before that."""

    @abstractmethod
    def _next_step(self) -> StepT:
        """Observe, and return the next step."""

    @abstractmethod
    def _carry_out(self, step: StepT) -> dict[str, Any] | None:
        """Carry out the step. Return the task's result if the run ends with it, else None."""

    @abstractmethod
    def _may_retry(self, error: ProviderError) -> bool:
        """Return whether a retry can succeed."""

    def _last_error(self, error: ProviderError) -> ProviderError:
        """Return the error that ends the run, completed for the user."""
        return error

    def _after_failure(self, error: ProviderError) -> None:  # noqa: B027  most need nothing
        """React to a provider error before the retry."""

    @abstractmethod
    def _note(self, event: str) -> None:
        """Add an event to the timeline."""

    @abstractmethod
    def _record(self) -> dict[str, Any]:
        """Return the contents of an ended swap's record, other than its intent."""

    @abstractmethod
    def _result(self, step: StepT | None) -> dict[str, Any]:
        """Return the task's result. ``step`` is the run's last step, or None if the run failed."""
