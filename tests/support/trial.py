# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays a case: one controller after the other, and now and then two at once, until the swap ends. The auditor watches every changing call.

What a fault can be, by what it meets:

- a changing call: ``refused`` (no effect), ``half`` (between the effects of a bulk call), ``lost`` (all effects, but an error for an answer),
  ``slow`` and ``late`` (time passes, then the error, without or with the effect); ``killed``, ``killed half``, ``killed done``;
  ``frozen``, ``frozen done`` (the controller stands still while time passes and another one runs), ``usurped`` (that one wants another image)
- a read: ``throttled``, ``slow``, ``stale`` (the answer of the read before; never a run's first), ``killed``
- the store: ``refused``, ``lost``, ``killed``, ``killed done``
- a wait: ``killed``, ``frozen``, ``usurped``
- anything: ``dies``, ``ails``, ``vanishes`` (one of the instances), ``forgotten`` (the balancer lost its members), ``jump`` (of the controller's clock),
  ``alarm``, ``revoked`` (the new image)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    FleetError,
    ImmutableError,
    ProviderError,
    StoreError,
    TrafficError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.services import simulated_services
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import World

from .auditor import Answers, Auditor
from .cases import FLEET, NEW, THIRD, Case, Fault, intent_before, request_of, world_of
from .fleetlab import CountingStore
from .killed import ControllerKilled

INTENT, LEASE = f"fleets/{FLEET}/intent.json", f"leases/{FLEET}.json"
LONGEST = 40_000.0  # virtual seconds of a run
MOST_CALLS, MOST_READS = 300, 6_000  # of a run
DISTURBING = {
    "stale",
    "dies",
    "ails",
    "vanishes",
    "forgotten",
    "frozen",
    "frozen done",
    "usurped",
    "jump",
    "killed half",
    "half",
}  # after them a refusal is nobody's fault
LOCK_TIMEOUT = 150.0
PLAYED = [0]  # how many histories so far, for the summary


class Injected(ProviderError):
    """A fault of the case's own; another ProviderError is a finding."""


@dataclass
class Controller:
    """One run of the engine, with its own clock and its own way to the store."""

    trial: Trial
    skew: float = 0.0
    dead: bool = False
    lease: Any = None
    told: Answers = field(default_factory=Answers)
    asked_kinds: set[str] = field(default_factory=set)

    location = "memory"

    def now(self) -> float:
        return self.trial.world.clock.now() + self.skew

    def wait(self, seconds: float) -> None:
        self.trial.meets(self, self.trial.fault("wait"))
        self.trial.world.clock.wait(seconds)
        self.trial.bounded()

    def read(self, key: str) -> Any:
        return self._around(lambda: self.trial.store.read(key))

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        if key.startswith("fleets/"):
            assert self.holds(), f"{key} is written without the lease"
        return str(self._around(lambda: self.trial.store.write(key, document, expect)))

    def list(self, prefix: str) -> list[str]:
        return list(self._around(lambda: self.trial.store.list(prefix)))

    def revoked(self) -> dict[str, str]:
        self.told.revoked = dict(self.trial.revoked)
        return self.told.revoked

    def holds(self) -> bool:
        found = self.trial.store.read(LEASE)
        return bool(found and self.lease.epoch and found[0]["epoch"] == self.lease.epoch and self.lease.left() > 0)

    def _around(self, effect: Callable[[], Any]) -> Any:
        if self.dead:
            raise ControllerKilled
        fault = self.trial.fault("store")
        self.trial.meets(self, fault, StoreError)
        answer = effect()
        self.trial.met(self, fault, StoreError)
        return answer


class WatchedWorld(World):
    trial: Trial

    def change(self, call: str, items: Any, effect: Any) -> None:
        with self.trial.around(call):
            super().change(call, items, effect)

    def read(self, kind: str, asked: Any, look: Any) -> Any:
        fresh = self.trial.reads(kind)
        answer = super().read(kind, asked, look)
        self.trial.acting[-1].told.heard(kind, answer, fresh)
        return answer


class Trial:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.world = WatchedWorld()
        self.world.trial = self
        world_of(case, self.world)
        self.slow_calls = self.world.latencies.call
        self.world.latencies = type(self.world.latencies)()
        self.store = CountingStore()
        before = intent_before(case)
        if before:
            Ledger(self.store, FLEET).save(before)
        self.gates = OpenGates()
        self.revoked: dict[str, str] = {}
        self.alarm = ""
        self.gates.read = lambda metric: self.alarm  # type: ignore[method-assign]
        self.faults = {(fault.at, fault.number): fault for fault in case.faults}
        self.spent: list[Fault] = []  # faults that came about
        self.seen: Counter[str] = Counter()
        self.acting: list[Controller] = []
        self.dead: set[str] = set()  # ids of lease holders
        self.auditor = Auditor(self.world, lambda: self.store.read(INTENT)[0])  # type: ignore[index]
        mine = [machine for each, machine in self.world.machines.items() if each.startswith(FLEET)]
        self.well_before = {machine.instance.slot for machine in mine if self.world.healthy(machine)}
        self.lines: list[str] = []
        self.skew = case.skew
        self._stale = False
        self._between: Fault | None = None
        self._limits = (0.0, 0, 0)
        self.world.stale = lambda _kind: self._stale
        self.world.between = self._amid

    # One run.

    def run(self, asked: Request | None = None, how: RunOptions | None = None) -> dict[str, Any]:
        asked = asked or request_of(self.case)
        how = how or RunOptions(lock_timeout=LOCK_TIMEOUT)
        who = Controller(self, self.skew)
        steady = self.world.clock.now
        store: Any = who  # it has the methods of a store that the engine calls
        who.lease = Lease(store, FLEET, "a swap", who, monotonic=steady, alive=self._alive)
        provider = SimulatedProvider(self.world, who)
        services = replace(
            simulated_services(provider, store, self.lines.append),
            lease=who.lease,
            gates=self.gates,
            revoked=who.revoked,
        )
        self._limits = (self.world.clock.now(), len(self.world.calls), sum(self.world.reads.values()))
        self.acting.append(who)
        try:
            return Engine(services).run(asked, how)
        except ControllerKilled:
            who.dead = True
            self.dead.add(who.lease._holder.get("id", ""))
            raise
        finally:
            self.acting.pop()

    def _alive(self, holder: Any) -> bool | None:
        return False if self.case.surely_dead and holder.get("id") in self.dead else None

    def bounded(self) -> None:
        began, calls, reads = self._limits
        assert self.world.clock.now() - began < LONGEST, f"promise 9: this run does not end: {self.lines[-6:]}"
        assert len(self.world.calls) - calls < MOST_CALLS, f"promise 9: this run does too much: {self.lines[-12:]}"
        assert sum(self.world.reads.values()) - reads < MOST_READS, (
            f"promise 9: this run looks too often: {self.lines[-12:]}"
        )

    # What goes wrong.

    def fault(self, at: str) -> Fault | None:
        number = self.seen[at]
        self.seen[at] += 1
        found = self.faults.pop((at, number), None)
        if found:
            self.spent.append(found)
            self.lines.append(f"--- {found}")
        return found

    def calm(self) -> None:
        """Nothing more goes wrong by the case's will."""
        self.faults.clear()
        self.alarm = ""
        self.revoked.clear()

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        who = self.acting[-1]
        assert who.holds(), f"{call} is begun without the lease"
        fault = self.fault("call")
        self.meets(who, fault)
        self.world.clock.advance(self.slow_calls)
        before = self.auditor.before()
        outer, self._between = self._between, fault
        try:
            yield
        except Injected:
            raise
        except ProviderError as error:
            moved = any(found.dies for found in self.case.found) or (
                self.case.forgets_drained and isinstance(error, TrafficError)
            )
            if not moved and not DISTURBING & {each.what for each in self.spent}:
                self.auditor.refused(error)
            raise
        finally:
            self._between = outer
            self.auditor.after(call, before, who.told, rightful=who.holds())
        self.bounded()
        self.met(who, fault)

    def reads(self, kind: str) -> bool:
        """True where the answer will be a fresh one."""
        who = self.acting[-1]
        fault = self.fault("read")
        self.meets(who, fault)
        self._stale = bool(fault and fault.what == "stale" and kind in who.asked_kinds)
        who.asked_kinds.add(kind)
        return not self._stale

    def _amid(self, call: str) -> None:
        what = self._between.what if self._between else ""
        self._between = None
        if what == "half":
            raise Injected(f"{call}: half")
        if what == "killed half":
            raise ControllerKilled

    def meets(self, who: Controller, fault: Fault | None, kind: type[ImmutableError] = Injected) -> None:
        """Before the effect."""
        what = fault.what if fault else ""
        if fault is None:
            return
        if what in ("refused", "throttled"):
            raise kind(what)
        if what == "killed":
            raise ControllerKilled
        if what == "slow":
            self.world.clock.advance(fault.then)
            raise kind(what)
        if what in ("frozen", "usurped"):
            self._another_runs(fault)
        elif what == "jump":
            who.skew += fault.then
        else:
            self._happens(fault)

    def met(self, who: Controller, fault: Fault | None, kind: type[ImmutableError] = Injected) -> None:
        """After the effect."""
        what = fault.what if fault else ""
        if fault is None:
            return
        if what == "lost":
            raise kind(what)
        if what == "killed done":
            raise ControllerKilled
        if what == "late":
            self.world.clock.advance(fault.then)
            raise kind(what)
        if what == "frozen done":
            self._another_runs(fault)

    def _happens(self, fault: Fault) -> None:
        machines = [
            machine
            for _each, machine in sorted(self.world.machines.items())
            if machine.instance.fleet == FLEET and machine.instance.purpose == "fleet"
        ]
        if fault.what in ("dies", "ails", "vanishes") and machines:
            machine = machines[int(fault.then) % len(machines)]
            if fault.what == "vanishes":  # as by somebody's hand: its volumes stay, and its place in the balancer
                machine.removing, machine.crashes_at = True, self.world.clock.now()
                self.world.settle()
                return
            if fault.what == "dies":
                machine.crashes_at = self.world.clock.now()
            else:
                machine.never_healthy = True
        elif fault.what == "forgotten":
            for each in [each for each, place in self.world.members.items() if place.fleet == FLEET]:
                del self.world.members[each]
        elif fault.what == "alarm":
            self.alarm = "the error rate is high"
        elif fault.what == "revoked":
            self.revoked[NEW] = "a hole was found"

    def _another_runs(self, fault: Fault) -> None:
        self.world.clock.advance(fault.then)
        if len(self.acting) > 1:
            return
        limits = self._limits
        try:
            # Soon after the other one stood still it finds the lease taken; later it waits until that runs out.
            self.run(
                request_of(self.case, THIRD if fault.what == "usurped" else NEW),
                RunOptions(lock_timeout=LOCK_TIMEOUT if fault.then >= 30.0 else 0.0),
            )
        except (ImmutableError, ControllerKilled):
            pass
        self._limits = limits


@dataclass
class Ending:
    what: str  # done | paused | stopped
    result: dict[str, Any] = field(default_factory=dict)
    error: ImmutableError | None = None


def play(trial: Trial) -> Ending:
    """Run again after each fault, as a user would. The number of faults bounds the number of runs."""
    PLAYED[0] += 1
    runs, approvals = 0, 0
    while True:
        runs += 1
        spent = len(trial.spent)
        try:
            result = trial.run(how=RunOptions(lock_timeout=LOCK_TIMEOUT, approve=approvals > 0))
        except ControllerKilled:
            pass
        except FleetError as error:
            assert "defect" not in error.message, error.message
            return Ending("stopped", error.details, error)
        except ImmutableError as error:
            assert len(trial.spent) > spent, (
                f"it gave up though nothing went wrong: {type(error).__name__}: {error.message}"
            )
        else:
            if not result["approval"]:
                return Ending("paused" if result["paused"] else "done", result)
            approvals += 1
        assert runs <= len(trial.case.faults) + len(trial.case.stages) + 3, "promise 9: too many runs"
