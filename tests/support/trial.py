# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays a case: runs one controller after the other, sometimes two at once, until the swap ends.

The auditor checks every changing call. Kinds of faults:

- at a changing call:
  - ``refused``: an error without effect
  - ``partial``, ``lost``: an error after some or all effects of a bulk call
  - ``timeout``, ``timeout after``: time passes, then an error, without or with the effect
  - ``killed``, ``killed midway``, ``killed after``
  - ``frozen``, ``frozen after``: the controller stands still while time passes and another one runs
  - ``overtaken``: as ``frozen``, and the other one has another image as its goal
- at a read: ``throttled``, ``timeout``, ``killed``, and ``stale``: the previous answer, if the run has read one
- at an access to the store: ``refused``, ``lost``, ``killed``, ``killed after``, ``frozen``, ``frozen after``
- at a wait: ``killed``, ``frozen``, ``overtaken``
- anywhere:
  - ``crashes``, ``unhealthy``, ``removed``, ``dies`` (at launch, unless it is sealed): one of the instances
  - ``deregistered``: the load balancer lost its members
  - ``clock jump``: of the controller's clock
  - ``alarm``, ``revoked``: the new image
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Literal, NoReturn, TypeVar

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    FleetError,
    ImmutableError,
    ProviderError,
    StoreError,
    TrafficError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import defect
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import MARGIN, POLL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.services import simulated_services
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.executor import BOUNDS
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import event_driven_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import SimulatedMachine, World

from .auditor import Answers, Auditor, in_fleet
from .cases import DISTURBING, FLEET, IMAGES, NEW, THIRD, Case, Fault, Moment, fill_world, intent_before, request_of
from .fleetlab import CountingStore
from .killed import ControllerKilled

INTENT, LEASE = f"fleets/{FLEET}/intent.json", f"leases/{FLEET}.json"
T = TypeVar("T")
LONGEST = 40_000.0  # virtual seconds of a run
MOST_CALLS, MOST_READS = 300, 6_000  # of a run
# More than the lease of a run that died during the longest call: see ``Lease.need``, and MARGIN for the clocks.
LOCK_TIMEOUT = max(BOUNDS.values()) + 4 * MARGIN + POLL
DEFECT = defect("").message  # begins the message of the engine's own check
PLAYED = [0]  # number of histories, for the summary of the tests


class Injected(ProviderError):
    """A fault of the case. Any other ProviderError is a bug."""


@dataclass
class Controller:
    """One run of the engine. It is the run's clock and its access to the store, so that faults can happen there."""

    trial: Trial
    clock_skew: float = 0.0
    dead: bool = False
    lease: Any = None
    answers: Answers = field(default_factory=Answers)
    kinds_read: set[str] = field(default_factory=set)

    location = "memory"

    def kill(self) -> NoReturn:
        """From now on it reaches nothing, so that its cleanup cannot release the lease."""
        self.dead = True
        raise ControllerKilled

    def now(self) -> float:
        return self.trial.world.clock.now() + self.clock_skew

    def wait(self, seconds: float) -> None:
        self.answers.read.clear()
        self.wait_for_lease(seconds)

    def wait_for_lease(self, seconds: float) -> None:
        """Wait between two attempts to acquire or renew the lease, which shows whether another run held it."""
        self.trial.before_effect(self, self.trial.fault("wait"))
        self.trial.world.clock.wait(seconds)
        self.trial.check_bounds()

    def read(self, key: str) -> tuple[Any, str] | None:
        return self._access(lambda: self.trial.store.read(key))

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        if key.startswith("fleets/"):
            assert self.holds_lease(), f"{key} is written without the lease"
        return self._access(lambda: self.trial.store.write(key, document, expect))

    def list(self, prefix: str) -> list[str]:
        return self._access(lambda: self.trial.store.list(prefix))

    def revoked(self) -> dict[str, str]:
        self.answers.revoked = dict(self.trial.revoked)
        return self.answers.revoked

    def holds_lease(self) -> bool:
        found = self.trial.store.read(LEASE)
        return bool(found and self.lease.epoch and found[0]["epoch"] == self.lease.epoch and self.lease.left() > 0)

    def _access(self, effect: Callable[[], T]) -> T:
        if self.dead:
            raise ControllerKilled
        fault = self.trial.fault("store")
        self.trial.before_effect(self, fault, StoreError)
        answer = effect()
        self.trial.after_effect(self, fault, StoreError)
        return answer


class AuditedWorld(World):
    """A world that reports every call and read to the trial."""

    trial: Trial

    def change(self, call: str, items: Any, effect: Any) -> None:
        with self.trial.audited(call):
            super().change(call, items, effect)

    def read(self, kind: str, question: Any, answer_now: Any) -> Any:
        fresh = self.trial.start_read(kind)
        answer = super().read(kind, question, answer_now)
        self.trial.active[-1].answers.record(kind, answer, fresh)
        return answer


class Trial:
    """The world, the store and the faults of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.world = AuditedWorld()
        self.world.trial = self
        fill_world(case, self.world)
        self.call_seconds = self.world.latencies.call
        self.world.latencies = type(self.world.latencies)()
        self.store = CountingStore()
        before = intent_before(case)
        if before:
            Ledger(self.store, FLEET).save(before)
        self.gates = OpenGates()
        self.revoked: dict[str, str] = {}
        self.alarm = ""
        self.gates.read = lambda metric: self.alarm  # type: ignore[method-assign]
        self.pending = {(fault.at, fault.number): fault for fault in case.faults}
        self.occurred: list[Fault] = []
        self.counts: Counter[str] = Counter()  # of calls, reads, accesses to the store and waits
        self.active: list[Controller] = []  # the last one runs
        self.dead_holders: set[str] = set()  # ids of lease holders
        self.auditor = Auditor(self.world, self._stored_intent)
        initial = [machine for name, machine in self.world.machines.items() if name.startswith(FLEET)]
        self.healthy_slots_before = {machine.instance.slot for machine in initial if self.world.healthy(machine)}
        self.lines: list[str] = []
        self.clock_skew = case.clock_skew
        self._stale = False
        self._fault_between: Fault | None = None
        self._bounds = (0.0, 0, 0)  # time, calls and reads when the run began
        self.world.stale = lambda _kind: self._stale
        self.world.between = self._between_effects

    def _stored_intent(self) -> Any:
        found = self.store.read(INTENT)
        assert found is not None
        return found[0]

    # One run.

    def run(self, request: Request | None = None, options: RunOptions | None = None) -> dict[str, Any]:
        """Run one controller. Raises what the engine raises, and ControllerKilled."""
        controller = Controller(self, self.clock_skew)
        store: Any = controller  # it has the methods of a store that the engine calls
        monotonic = self.world.clock.now
        clock = SimpleNamespace(now=controller.now, wait=controller.wait_for_lease)
        lease = Lease(store, FLEET, "a swap", clock, monotonic=monotonic, alive=self._is_alive)
        controller.lease = lease
        provider = SimulatedProvider(self.world, controller)
        provider.pace = event_driven_pace if self.case.calls_count else None
        services = replace(
            simulated_services(provider, store, self.lines.append),
            lease=lease,
            gates=self.gates,
            revoked=controller.revoked,
        )
        self._bounds = (self.world.clock.now(), len(self.world.calls), sum(self.world.reads.values()))
        self.active.append(controller)
        try:
            request = request or request_of(self.case)
            return Engine(services).run(request, options or RunOptions(lock_timeout=LOCK_TIMEOUT))
        except ControllerKilled:
            self.dead_holders.add(lease._holder.get("id", ""))
            raise
        finally:
            self.active.pop()

    def _is_alive(self, holder: Any) -> bool | None:
        return False if self.case.deaths_are_known and holder.get("id") in self.dead_holders else None

    def check_bounds(self) -> None:
        start, calls, reads = self._bounds
        assert self.world.clock.now() - start < LONGEST, f"promise 9: this run does not end: {self.lines[-6:]}"
        assert len(self.world.calls) - calls < MOST_CALLS, f"promise 9: too many calls in one run: {self.lines[-12:]}"
        assert sum(self.world.reads.values()) - reads < MOST_READS, (
            f"promise 9: too many reads in one run: {self.lines[-12:]}"
        )

    # Faults.

    def fault(self, at: Moment) -> Fault | None:
        """Count this moment, and return the fault that happens at it."""
        number = self.counts[at]
        self.counts[at] += 1
        fault = self.pending.pop((at, number), None)
        if fault:
            self.occurred.append(fault)
            self.lines.append(f"--- {fault}")
        return fault

    def end_faults(self) -> None:
        """From now on nothing goes wrong."""
        self.pending.clear()
        self.alarm = ""
        self.revoked.clear()

    @contextmanager
    def audited(self, call: str) -> Iterator[None]:
        controller = self.active[-1]
        assert controller.holds_lease(), f"{call} begins without the lease"
        fault = self.fault("call")
        self.before_effect(controller, fault)
        self.world.clock.advance(self.call_seconds)
        before = self.auditor.snapshot()
        outer, self._fault_between = self._fault_between, fault
        try:
            yield
        except Injected:
            raise
        except ProviderError as error:
            if not self._may_refuse(error):
                raise AssertionError(f"the provider had to refuse: {error.message}") from error
            raise
        finally:
            self._fault_between = outer
            self.auditor.check(call, before, controller.answers, holds_lease=controller.holds_lease())
        self.check_bounds()
        self.after_effect(controller, fault)

    def _may_refuse(self, error: ProviderError) -> bool:
        """Whether the provider may refuse a call although the engine did nothing wrong."""
        crashes = any(initial.crashes_after for initial in self.case.instances)
        forgotten = self.case.forgets_drained and isinstance(error, TrafficError)
        # A launch whose answer was lost is repeated with its token, and what it launched may have died unseen.
        mortal = IMAGES[self.case.image].dies_after < math.inf
        spent = error.token_spent and mortal
        # An instance that boots from another image keeps its volumes, and may die between a look and their attachment.
        reimaged = mortal and self.case.strategy == "reimage"
        return crashes or forgotten or spent or reimaged or bool(DISTURBING & {fault.kind for fault in self.occurred})

    def start_read(self, kind: str) -> bool:
        """Return whether the answer will be a fresh one."""
        controller = self.active[-1]
        fault = self.fault("read")
        self.before_effect(controller, fault)
        self._stale = bool(fault and fault.kind == "stale" and kind in controller.kinds_read)
        controller.kinds_read.add(kind)
        return not self._stale

    def _between_effects(self, call: str) -> None:
        kind = self._fault_between.kind if self._fault_between else ""
        self._fault_between = None
        if kind == "partial":
            raise Injected(f"{call}: partial")
        if kind == "killed midway":
            self.active[-1].kill()

    def before_effect(
        self, controller: Controller, fault: Fault | None, error: type[ImmutableError] = Injected
    ) -> None:
        if fault is None:
            return
        if fault.kind in ("refused", "throttled"):
            raise error(fault.kind)
        if fault.kind == "killed":
            controller.kill()
        if fault.kind == "timeout":
            self.world.clock.advance(fault.value)
            raise error(fault.kind)
        if fault.kind in ("frozen", "overtaken"):
            self._run_another(fault)
        elif fault.kind == "clock jump":
            controller.clock_skew += fault.value
        else:
            self._disturb_fleet(fault)

    def after_effect(self, controller: Controller, fault: Fault | None, error: type[ImmutableError] = Injected) -> None:
        if fault is None:
            return
        if fault.kind == "lost":
            raise error(fault.kind)
        if fault.kind == "killed after":
            controller.kill()
        if fault.kind == "timeout after":
            self.world.clock.advance(fault.value)
            raise error(fault.kind)
        if fault.kind == "frozen after":
            self._run_another(fault)

    def _disturb_fleet(self, fault: Fault) -> None:
        if fault.kind == "deregistered":
            for name in [name for name, entry in self.world.members.items() if entry.fleet == FLEET]:
                del self.world.members[name]
        elif fault.kind == "alarm":
            self.alarm = "the error rate is high"
        elif fault.kind == "revoked":
            self.revoked[NEW] = "it has a vulnerability"
        elif machines := [one for _name, one in sorted(self.world.machines.items()) if in_fleet(one)]:
            self._disturb_instance(fault, machines[int(fault.value) % len(machines)])

    def _disturb_instance(self, fault: Fault, machine: SimulatedMachine) -> None:
        if fault.kind == "unhealthy":
            machine.never_healthy = True
        if fault.kind == "dies":
            self.world.die(machine)
        if fault.kind in ("crashes", "removed"):
            machine.crashes_at = self.world.clock.now()
        if fault.kind == "removed":  # as if a person removed it: its volumes and its entry in the load balancer stay
            machine.removing = True
            self.world.settle()

    def _run_another(self, fault: Fault) -> None:
        self.world.clock.advance(fault.value)
        if len(self.active) > 1:
            return
        bounds = self._bounds
        try:
            # Soon after the freeze the other controller finds the lease taken. Later it waits until the lease expires.
            self.run(
                request_of(self.case, THIRD if fault.kind == "overtaken" else NEW),
                RunOptions(lock_timeout=LOCK_TIMEOUT if fault.value >= 30.0 else 0.0),
            )
        except (ImmutableError, ControllerKilled):
            pass
        self._bounds = bounds


@dataclass
class Ending:
    """How the last run of a history ended."""

    status: Literal["done", "paused", "stopped"]
    result: dict[str, Any] = field(default_factory=dict)
    error: ImmutableError | None = None


def play(trial: Trial) -> Ending:
    """Run again after each fault, as a user would. The number of faults bounds the number of runs."""
    PLAYED[0] += 1
    runs, approvals = 0, 0
    while True:
        runs += 1
        occurred = len(trial.occurred)
        try:
            result = trial.run(options=RunOptions(lock_timeout=LOCK_TIMEOUT, approve=approvals > 0))
        except ControllerKilled:
            pass
        except FleetError as error:
            assert DEFECT not in error.message, error.message
            return Ending("stopped", error.details, error)
        except ImmutableError as error:
            assert len(trial.occurred) > occurred, (
                f"it failed although nothing went wrong: {type(error).__name__}: {error.message}"
            )
        else:
            if not result["approval"]:
                return Ending("paused" if result["paused"] else "done", result)
            approvals += 1
        assert runs <= len(trial.case.faults) + len(trial.case.stages) + 3, "promise 9: too many runs"
