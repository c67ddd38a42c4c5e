# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Observe, plan, act, until the plan says done. What a run leaves half done, the next one goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..._core.errors import FleetError, GateError, ImmutableError, ProviderError
from ..._core.progress import Report
from ..._providers.contract import Pace, Probe, Provider
from ..._store.base import Store
from ..actions import (
    Act,
    BeginRollback,
    Done,
    Gate,
    Launch,
    LaunchSlot,
    Outcome,
    Pause,
    Remember,
    Remove,
    Start,
    Stopped,
    Wait,
)
from ..gates import MetricWatcher
from ..ledger import Ledger
from ..model import ABSENT, DONE, FAILED, ROLLBACK, Intent, Observed, Payload, Request
from ..planning.plan import AFTER, BEFORE, plan
from ..ports import Gates, Guard, Lease
from .executor import Executor
from .observe import Observer
from .pace import every_second
from .promises import Promises
from .result import swap_result
from .timeline import Timeline

RETRY_DELAY = 1.0  # seconds before what failed or took no effect is tried again, at least
LOOK_AGAIN = 0.05  # seconds at least, so that a deadline is past when it is looked at
LAST_WORDS = 15  # lines of a failed instance's console that are kept
TRIES = 4  # of what the provider refuses, in a row; each time twice as long after the one before
MARGIN = 10.0  # seconds of the lease that each look leaves at least


@dataclass(frozen=True)
class FleetServices:
    """All that an engine reaches the world by."""

    provider: Provider
    store: Store
    prober: Probe
    guard: Guard
    lease: Lease
    gates: Gates
    report: Report
    revoked: Callable[[], Mapping[str, str]] = dict  # digest -> why
    pace: Pace = every_second


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about it."""

    lock_timeout: float = 0.0  # seconds to wait for another run's lease
    wait: bool = True  # False: end where nothing is left but to let time pass; a later run goes on
    approve: bool = False  # pass the gate that an earlier run paused at


class Engine:
    """Brings one fleet to what a request asks for. Nothing of it outlives ``run`` but what provider and store hold."""

    def __init__(self, means: FleetServices) -> None:
        self._means = means

    def run(self, request: Request, how: RunOptions | None = None) -> dict[str, Any]:
        """Returns the task's result. Where nothing is due, no lease is taken and no changing call made.

        Raises FleetError when the swap stopped, LockedError when another run holds the fleet, ProviderError; with the result so far as details.
        """
        return _Run(self._means, request, how or RunOptions()).run()


class _Run:
    def __init__(self, means: FleetServices, request: Request, how: RunOptions) -> None:
        self._means = means
        self._request = request
        self._how = how
        self._clock = means.provider.clock
        self._traffic = means.provider.traffic(request.intent.fleet)
        self._observer = Observer(means.provider, self._traffic, means.prober, request.intent.fleet)
        self._hands = Executor(means.provider, self._traffic, self._payload, self._may_change)
        self._ledger = Ledger(means.store, request.intent.fleet, lambda: self._may_change(0.0))
        self._watch = MetricWatcher(means.gates)
        self._timeline = Timeline(means.report, self._now())
        self._changed = False
        self._observed = Observed(self._now())
        self._moved_at = self._now()  # patience counts from here
        self._news_at = self._now()  # so does the pace of looks
        self._last: Outcome | None = None
        self._failures = 0  # of the provider, in a row
        self._kept: Intent | None = None  # as this run saved it last
        self._launching: tuple[LaunchSlot, ...] = ()  # whose launch failed just now

    def run(self) -> dict[str, Any]:
        intent, _resumed = self._ledger.intent(self._request.intent, self._now())
        outcome = self._look(intent)
        if not intent.begun and isinstance(outcome, (Done, Pause)):
            return self._result(intent, outcome)
        lease = self._means.lease
        lease.acquire(self._how.lock_timeout)
        self._observer.forget_volumes()
        try:
            intent, resumed = self._ledger.intent(self._request.intent, self._now())
            return self._swap(intent, resumed)
        except ImmutableError as error:
            error.details = {**self._result(intent, None), **error.details}
            raise
        finally:
            lease.release()

    def _swap(self, intent: Intent, resumed: bool) -> dict[str, Any]:
        if resumed:
            self._timeline.add("going on with what an earlier run began", None, None, self._now())
        self._moved()
        waited = False
        while True:
            try:
                outcome = self._next(intent, waited)
                waited = isinstance(outcome, Wait)
                if isinstance(outcome, Done):
                    return self._finish(intent, outcome) if intent.begun else self._result(intent, outcome)
                if self._ends_here(outcome):
                    return self._pause(intent, outcome)
                intent = self._carry_out(outcome, self._begun(intent))
                self._failures = 0
            except ProviderError as error:
                self._try_again(error)
                intent, waited = self._other_tokens(self._kept or intent, bool(error.details.get("spent"))), False

    def _next(self, intent: Intent, waited: bool) -> Outcome:
        """Nothing is done but after a fresh look: where probes were spared while waiting, they are made up for."""
        outcome = self._patient(self._look(intent, fresh=not waited), intent)
        if isinstance(outcome, Wait) or not self._observer.spared:
            return outcome
        return self._patient(self._judge(self._observer.reprobe(), intent), intent)

    def _look(self, intent: Intent, fresh: bool = True) -> Outcome:
        data = bool(intent.volumes or (intent.origin and intent.origin.volumes))
        return self._judge(self._observer.observe(fresh, data), intent)

    def _judge(self, seen: Observed, intent: Intent) -> Outcome:
        forward = intent.begun and intent.stage != ROLLBACK
        alarm = self._watch.look(intent.alarm, self._now()) if intent.alarm and forward else ""
        self._observed = replace(seen, alarms=(alarm,) if alarm else (), revoked=self._means.revoked())
        if self._timeline.saw(self._observed):
            self._moved()
        return plan(self._observed, intent, self._now())

    def _ends_here(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Pause):
            return not (outcome.gate and self._how.approve)
        return isinstance(outcome, Wait) and outcome.idle and not self._how.wait

    def _carry_out(self, outcome: Outcome, intent: Intent) -> Intent:
        """Returns the intent with what became of it."""
        if isinstance(outcome, Act):
            return self._act(outcome, intent)
        if isinstance(outcome, Wait):
            return self._wait(outcome, intent)
        if isinstance(outcome, Gate):
            return self._gate(outcome, intent)
        if isinstance(outcome, Pause):
            return self._approve(outcome, intent)
        if isinstance(outcome, Remember):
            return self._remember(outcome.intent, outcome.event)
        if isinstance(outcome, BeginRollback):
            return self._turn_back(outcome, intent)
        if isinstance(outcome, Stopped):
            raise self._failed(intent, outcome.reason)
        raise AssertionError(outcome)

    def _begun(self, intent: Intent) -> Intent:
        """Before anything is done, the store knows what it is about."""
        if not intent.begun:
            intent = replace(intent, begun=True)
            self._ledger.keep_recipe(intent.launch, self._request.recipe)
            self._save(intent)
        return intent

    def _save(self, intent: Intent) -> None:
        self._ledger.save(intent)
        self._kept = intent

    def _act(self, outcome: Act, intent: Intent) -> Intent:
        repeated = outcome == self._last
        self._last = outcome
        happened = self._timeline.novelties
        promises = Promises(self._observed, intent)
        for action in outcome.actions:
            promises.allow(action)
            intent = self._noted(action, intent)
            self._changed = True
            self._launching = action.places if isinstance(action, Launch) else ()
            for event in self._hands.act(action, self._observed, intent):
                self._timeline.add(*event, self._now())
            self._launching = ()
            self._observer.expect(self._hands.launched)
            if isinstance(action, Start):  # after the call: one that never came about must not count
                intent = replace(intent, restarted=tuple(sorted({*intent.restarted, *action.ids})))
                self._save(intent)
        if repeated:  # it took no effect that could be seen: do not hammer, and do not take it for progress
            self._clock.wait(RETRY_DELAY)
        elif self._timeline.novelties > happened:
            self._moved()
        return intent

    def _noted(self, action: object, intent: Intent) -> Intent:
        """What must be known before the call is made, in case that it is the last one of this run: a token is never used for two instances."""
        if not isinstance(action, Remove):
            return intent
        ids = set(action.ids)
        self._observer.forget(ids)
        noted = intent.retried(
            view.slot for view in self._observed.instances if view.id in ids and view.swap == intent.serial
        )
        if noted != intent:
            self._save(noted)
        return noted

    def _wait(self, wait: Wait, intent: Intent) -> Intent:
        now = self._now()
        if wait.metric:
            wrong = self._watch.look(wait.metric, now)
            if wrong:
                return self._turn_back(BeginRollback(f"{wait.reason.partition(' soaks')[0]}: {wrong}"), intent)
        self._timeline.waits(wait.reason, now)
        left = self._timeline.steps.next_look(self._means.pace, now, max(0.0, now - self._news_at))
        if (
            wait.until is not None and wait.until >= now
        ):  # one that is past ends nothing any more, and is no reason to hurry
            left = min(left, wait.until - now + LOOK_AGAIN)
        self._means.lease.need(left + MARGIN)
        self._clock.wait(left)
        if wait.idle:  # time passed as it should: what comes after it has all its patience before it
            self._moved_at = self._now()
        return intent

    def _gate(self, gate: Gate, intent: Intent) -> Intent:
        self._may_change(0.0)
        self._timeline.add(f"gate: {gate.name}", None, None, self._now())
        try:
            if gate.playbook:
                self._means.gates.play(gate, intent, self._observer.snapshot.instances)
            elif gate.metric and (wrong := self._means.gates.read(gate.metric)):
                raise GateError(wrong)
        except GateError as error:
            if gate.name in (BEFORE, AFTER):  # nothing of the fleet is to blame: the next run tries it again
                raise FleetError(f"{gate.name}: {error.message}", **error.details) from error
            return self._turn_back(BeginRollback(f"{gate.name}: {error.message}"), intent)
        self._moved()
        return self._remember(replace(intent, passed=(*intent.passed, gate.name)), f"passed: {gate.name}")

    def _approve(self, pause: Pause, intent: Intent) -> Intent:
        self._how = replace(self._how, approve=False)  # one approval is for one gate
        if intent.asks != pause.gate:
            return self._remember(replace(intent, asks=pause.gate), f"asks for approval: {pause.gate}")
        return self._remember(
            replace(intent, asks="", resumed=self._now(), passed=(*intent.passed, pause.gate)),
            f"approved: {pause.gate}",
        )

    def _pause(self, intent: Intent, outcome: Outcome) -> dict[str, Any]:
        intent = self._begun(intent)
        if isinstance(outcome, Pause):
            if intent.asks != outcome.gate:
                intent = self._remember(replace(intent, asks=outcome.gate), f"asks for approval: {outcome.gate}")
            self._timeline.add(f"paused: {outcome.reason}", None, None, self._now())
        return self._result(intent, outcome)

    def _remember(self, intent: Intent, event: str) -> Intent:
        self._save(intent)
        self._changed = True
        self._moved()
        self._timeline.add(event, None, None, self._now())
        return intent

    def _turn_back(self, turn: BeginRollback, intent: Intent) -> Intent:
        intent = intent.turn_back(turn.reason, turn.culprit, self._last_words(turn.culprit))
        self._save(intent)
        self._moved()
        self._timeline.add(f"rolling back: {turn.reason}", None, turn.culprit or None, self._now())
        return intent

    def _patient(self, outcome: Outcome, intent: Intent) -> Outcome:
        """What has not moved for longer than all deadlines together, a wait or an action without effect, will never end by itself."""
        patience = intent.boot_deadline + intent.health_deadline + intent.drain_timeout + intent.stop_timeout
        stuck = (isinstance(outcome, Wait) and not outcome.idle) or isinstance(outcome, Act)
        if not stuck or self._now() - self._moved_at <= patience:
            return outcome
        doing = outcome.reason if isinstance(outcome, Wait) else f"but to do the same again: {outcome}"
        reason = f"nothing moved for {patience:g} s ({doing})"
        if intent.stage == ROLLBACK or intent.goal == ABSENT:
            return Stopped("; ".join(filter(None, [intent.reason, reason])))
        return BeginRollback(reason)

    def _try_again(self, error: ProviderError) -> None:
        """A call that failed may have had its effect all the same: the next look tells."""
        self._failures += 1
        if self._failures >= TRIES or error.details.get("lasting"):  # as of a right that is missing, or that ran out
            raise error
        self._timeline.add(f"trying again: {error.message}", None, None, self._now())
        self._means.lease.need(RETRY_DELAY * 2**self._failures + MARGIN)
        self._clock.wait(RETRY_DELAY * 2**self._failures)

    def _other_tokens(self, intent: Intent, spent: bool) -> Intent:
        """A token whose instance somebody removed is of no use any more. Where the provider cannot tell so, it is before the last try."""
        places, self._launching = self._launching, ()
        if not places or not (spent or self._failures >= TRIES - 1):
            return intent
        retries = {**dict(intent.retries), **{place.slot: place.attempt + 1 for place in places}}
        intent = replace(intent, retries=tuple(sorted(retries.items())))
        self._save(intent)
        return intent

    def _may_change(self, seconds: float) -> None:
        """For a call that takes so long at most."""
        self._means.guard.check()
        self._means.lease.need(seconds)

    def _payload(self, intent: Intent) -> Payload:
        if intent.stage != ROLLBACK or (intent.origin and intent.origin.launch == intent.launch):
            return self._request.payload
        if self._request.origin is None:
            raise FleetError(
                f"{intent.fleet}: nothing is known of how the instances of {intent.aim.image_name} are launched"
            )
        return self._request.origin

    def _finish(self, intent: Intent, done: Done) -> dict[str, Any]:
        if intent.goal == ABSENT:
            self._may_change(0.0)
            self._traffic.remove()
            self._changed = True
        self._close(replace(intent, status=DONE))
        return self._result(intent, done)

    def _failed(self, intent: Intent, reason: str) -> FleetError:
        self._close(replace(intent, status=FAILED, reason=reason))
        words = "".join(f"\n  | {line}" for line in intent.last_words)
        console = f"\nThe last lines of {intent.culprit}'s console:{words}" if words else ""
        return FleetError(
            f"the swap of {intent.fleet} to {intent.image_name or intent.image} was stopped: {reason}{console}",
            reason=reason,
        )

    def _close(self, intent: Intent) -> None:
        told = {"endpoint": self._traffic.describe().get("endpoint"), **self._timeline.as_dict()}
        self._ledger.close(intent, self._now(), told)

    def _last_words(self, instance_id: str) -> tuple[str, ...]:
        if not instance_id:
            return ()
        try:
            lines = [line.strip() for line in self._means.provider.compute.console(instance_id).splitlines()]
        except ProviderError as error:  # they explain, they decide nothing
            lines = [f"(its console could not be read: {error.message})"]
        return tuple([line for line in lines if line][-LAST_WORDS:])

    def _result(self, intent: Intent, outcome: Outcome | None) -> dict[str, Any]:
        return {
            "changed": self._changed,
            **swap_result(self._request, intent, self._observed, outcome),
            **self._timeline.as_dict(),
            **self._traffic_told(intent),
            **self._means.provider.describe(),
        }

    def _traffic_told(self, intent: Intent) -> dict[str, Any]:
        traffic = self._traffic.describe()
        return {"endpoint": None if intent.goal == ABSENT else traffic.get("endpoint"), "traffic": traffic}

    def _moved(self) -> None:
        self._moved_at = self._news_at = self._now()

    def _now(self) -> float:
        return self._clock.now()
