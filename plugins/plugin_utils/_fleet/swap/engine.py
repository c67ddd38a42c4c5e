# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The swap engine: observe, plan and act until the plan says done. The next run resumes an interrupted swap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..._core.errors import FleetError, GateError, ProviderError
from ..._providers.contract import Pace, Probe, Provider
from ..actions import (
    Act,
    Action,
    BeginRollback,
    Done,
    Gate,
    Launch,
    LaunchSlot,
    Outcome,
    Pause,
    Reimage,
    ReimageSlot,
    Remember,
    Remove,
    Start,
    Stopped,
    Wait,
    unknown_action,
)
from ..model import ABSENT, DONE, FAILED, ROLLBACK, Intent, Payload, Request
from ..observed import Observed
from ..planning.plan import plan
from ..run import FleetRun, RetryPolicy, RunOptions, RunServices
from .effects import FORESEEN
from .executor import Executor
from .looks import BOTH, OLDEST, Part, may_be_partial, parts_needed, parts_shown
from .observe import Observer
from .pace import every_second
from .possible import require_possible
from .promises import Promises
from .result import failure_message, last_console_lines, swap_result
from .slot_bar import renewed, slot_bar, slot_states
from .timeline import Timeline
from .undone_switch import undone_switch

REPEAT_DELAY = 1.0  # seconds before an action without effect is repeated
AFTER_DEADLINE = 0.05  # seconds past a deadline at which the fleet is observed, so that the deadline has passed
NOTHING_TO_SEE = 1.0  # seconds: a fleet is not read right after an action if no step can be over before
JUST_READ = 5.0  # seconds for which the observation before the lease holds if no one held the lease meanwhile
MARGIN = 10.0  # seconds of the lease that must remain after a wait, for the next observation


@dataclass(frozen=True, kw_only=True)
class FleetServices(RunServices):
    """The external services that a swap uses."""

    provider: Provider
    prober: Probe
    pace: Pace = every_second


class Engine:
    """Brings one fleet to what a request asks for."""

    def __init__(self, services: FleetServices) -> None:
        self._services = services

    def run(self, request: Request, options: RunOptions | None = None) -> dict[str, Any]:
        """Return the task's result. See ``FleetRun.run`` for what it raises."""
        return SwapRun(self._services, request, options or RunOptions()).run()


class SwapRun(FleetRun[Outcome]):
    """One run of a swap."""

    retry_policy = RetryPolicy(tries=4, delay=2.0, margin=MARGIN)

    def __init__(self, services: FleetServices, request: Request, options: RunOptions) -> None:
        fleet = request.intent.fleet
        super().__init__(services, services.provider.clock, fleet, options)
        self._request = request
        self._provider = services.provider
        self._pace = services.pace
        self._traffic = services.provider.traffic(fleet)
        self._observer = Observer(services.provider, self._traffic, services.prober, fleet)
        self._executor = Executor(services.provider, self._traffic, self._payload, self._permit)
        self._timeline = Timeline(services.report, self._now())
        self._observed = Observed(self._now())
        self._progress_at = self._now()  # patience counts from here
        self._event_at = self._now()  # the pace of observations counts from here
        self._waited = False  # whether the last step was a wait
        self._calls_count = services.provider.pace is not None  # whether looks read no more than they need
        self._lease_before: str | None = None  # its version before the first observation, if no one held it then
        self._still_holds = False  # whether no one could change the fleet since the last observation
        self._effects_known = False  # whether what was read, with the effects of each action since, is how things are
        self._last_act: Act | None = None
        self._launching: Sequence[LaunchSlot | ReimageSlot] = ()  # whose launch failed just now

    def _requested(self) -> Intent:
        return self._request.intent

    def _first_step(self) -> Outcome:
        if self._calls_count:
            self._lease_before = self._lease.free_version()
        self._load_intent()
        return self._observe(fresh=True)

    def _ends_early(self, step: Outcome) -> bool:
        return not self._intent.begun and isinstance(step, (Done, Pause))

    def _prepare(self, step: Outcome, resumed: bool) -> None:  # noqa: ARG002  the next step observes again
        if resumed:
            self._intent = self._intent.with_assumed_launches()
        before = self._lease_before
        unchanged = before is not None and self._lease.took_over == before
        self._still_holds = unchanged and not self._observer.older_than(JUST_READ)
        if not self._still_holds:
            self._observer.forget_volumes()  # another run may have changed them before this one got the lease
        instances = self._observer.snapshot.instances
        require_possible(self._provider, self._observed, instances, intent=self._intent, request=self._request)
        delay = self._traffic.drain_time() if self._request.balancer_drains else None
        if delay is not None:
            self._intent = replace(self._intent, drain_timeout=delay)
        self._note_progress()

    def _next_step(self) -> Outcome:
        """Every action follows a fresh observation: what was spared while waiting is read and probed before it."""
        if early := self._foreseen_wait():
            return early
        read = parts = self._parts_to_read()
        if self._still_holds:
            read = BOTH
        self._effects_known = self._still_holds = False
        outcome = self._limit_patience(self._observe(fresh=not self._waited, parts=parts))
        while not isinstance(outcome, Wait):
            missing = self._missing_parts(outcome) - read
            if not missing and not self._observer.spared:
                break
            read |= missing
            seen = self._observe(fresh=True, parts=missing) if missing else self._plan(self._observer.reprobe())
            outcome = self._limit_patience(seen)
        self._waited = self._effects_known = isinstance(outcome, Wait)
        return outcome

    def _foreseen_wait(self) -> Wait | None:
        """The wait after an action whose effects are known, if no step can be over yet: there is nothing to read."""
        partial = self._calls_count and self._effects_known and may_be_partial(self._intent)
        if not partial or self._waited or self._timeline.durations.due(self._now()) <= NOTHING_TO_SEE:
            return None
        outcome = self._plan(self._observer.reprobe())
        self._waited = isinstance(outcome, Wait)
        return outcome if isinstance(outcome, Wait) else None

    def _parts_to_read(self) -> frozenset[Part]:
        if self._still_holds:
            return frozenset()
        if not (self._calls_count and self._effects_known and may_be_partial(self._intent)):
            return BOTH
        events = self._timeline.durations.in_progress()
        return parts_shown(events, self._intent.count_draining) | self._observer.older_than(OLDEST)

    def _missing_parts(self, outcome: Outcome) -> frozenset[Part]:
        """The parts that must be read in the same look before this outcome."""
        return parts_needed(outcome, self._observed, self._intent) | self._observer.older_than(OLDEST)

    def _observe(self, fresh: bool, parts: frozenset[Part] = BOTH) -> Outcome:
        origin = self._intent.origin
        data = bool(self._intent.volumes or (origin and origin.volumes))
        return self._plan(self._observer.observe(fresh, data, parts))

    def _plan(self, observed: Observed) -> Outcome:
        # A death is saved before the next launch of its slot, at the latest. Until then the provider shows it again.
        self._intent = intent = self._intent.with_deaths(observed.deaths).with_launches_seen(observed)
        observed = replace(observed, deaths=intent.deaths, calls_count=self._calls_count)
        watched = intent.alarm if intent.begun and intent.stage != ROLLBACK else None
        alarm = self._metrics.check(watched, self._now()) if watched else ""
        self._observed = replace(observed, alarms=(alarm,) if alarm else (), revoked=self._revoked())
        states = slot_states(self._observed, intent)
        self._timeline.gauge, self._timeline.renewed = slot_bar(states), renewed(states)
        if self._timeline.observe(self._observed):
            self._note_progress()
        return plan(self._observed, intent, self._now())

    def _limit_patience(self, outcome: Outcome) -> Outcome:
        """End a wait, or an action without effect, that lasts longer than all deadlines together."""
        intent = self._intent
        patience = intent.boot_deadline + intent.health_deadline + intent.drain_timeout + intent.stop_timeout
        stuck = (isinstance(outcome, Wait) and not outcome.idle) or isinstance(outcome, Act)
        if not stuck or self._now() - self._progress_at <= patience:
            return outcome
        doing = outcome.reason if isinstance(outcome, Wait) else f"the same actions had no effect: {outcome}"
        reason = f"nothing moved for {patience:g} s ({doing})"
        if intent.stage == ROLLBACK or intent.goal == ABSENT:
            return Stopped("; ".join(filter(None, [intent.reason, reason])))
        return BeginRollback(reason)

    def _carry_out(self, step: Outcome) -> dict[str, Any] | None:
        if isinstance(step, Done):
            return self._finish(step)
        self._begin(self._request.recipe)
        match step:
            case Act():
                self._act(step)
            case Wait():
                if step.idle and not self._options.wait:
                    return self._result(step)
                self._wait(step)
            case Gate():
                self._ask(step)
            case Pause():
                if not (step.gate and self._options.approve):
                    return self._pause(step)
                self._approve(step)
            case Remember():
                self._remember(step.intent, step.event)
            case BeginRollback():
                self._roll_back(step)
            case Stopped():
                raise self._stopped(step)
            case _:
                raise unknown_action(step)
        return None

    def _act(self, act: Act) -> None:
        repeated = act == self._last_act
        self._last_act = act
        known = self._timeline.novelties
        promises = Promises(self._observed, self._intent)
        for action in act.actions:
            promises.allow(action)
            if undone := undone_switch(action, self._observed, self._intent):
                self._note(undone)
            self._save_lost_tokens(action)
            self._changed = True
            self._launching = action.slots if isinstance(action, (Launch, Reimage)) else ()
            with self._launches_counted():
                events = self._executor.act(action, self._observed, self._intent)
            for event in events:
                self._timeline.add(*event, self._now())
            self._launching = ()
            self._observer.expect(self._executor.launched)
            if self._calls_count:
                self._observer.apply(action, self._executor.launched)
            if isinstance(action, Start):  # after the call, so that a start that failed does not count
                restarted = {*self._intent.restarted, *action.ids}
                self._save(replace(self._intent, restarted=tuple(sorted(restarted))))
        self._effects_known = all(isinstance(action, FORESEEN) for action in act.actions)
        if repeated:  # no effect is visible yet: this is no progress, and the provider is spared
            self._clock.wait(REPEAT_DELAY)
        elif self._timeline.novelties > known:
            self._note_progress()

    @contextmanager
    def _launches_counted(self) -> Iterator[None]:
        """Count the launches of a call. All but the first one of a slot are saved before the call.

        So runs that are killed during the call cannot launch more than the tenth promise allows. A call that failed
        counts only if its token is spent: the next observation shows what else it launched.
        """
        slots = [launch.slot for launch in self._launching]
        before = self._intent
        remember = self._save if any(before.launched(slot) for slot in slots) else self._set_intent
        if slots:
            remember(before.with_launches(slots))
        try:
            yield
        except ProviderError as error:
            if slots and not error.token_spent:
                remember(before)
            raise

    def _set_intent(self, intent: Intent) -> None:
        self._intent = intent

    def _save_lost_tokens(self, action: Action) -> None:
        """Before instances are removed, save that their launch tokens are spent: a token is never used twice."""
        if not isinstance(action, Remove):
            return
        ids = set(action.ids)
        self._observer.forget(ids)
        serial = self._intent.serial
        lost = [view.slot for view in self._observed.instances if view.id in ids and view.swap == serial]
        if lost:
            self._save(self._intent.with_retries(lost))

    def _wait(self, wait: Wait) -> None:
        now = self._now()
        problem = self._metrics.check(wait.metric, now) if wait.metric else ""
        if problem:
            self._roll_back(BeginRollback(f"{wait.reason.partition(' soaks')[0]}: {problem}"))
            return
        self._timeline.waits(wait.reason, now)
        seconds = self._timeline.durations.next_observation(self._pace, now, max(0.0, now - self._event_at))
        if wait.until is not None and wait.until >= now:  # a deadline in the past is no reason to hurry
            seconds = min(seconds, wait.until - now + AFTER_DEADLINE)
        self._lease.need(seconds + MARGIN)
        self._clock.wait(seconds)
        if wait.idle:  # time passed as intended, so patience starts again
            self._progress_at = self._now()

    def _ask(self, gate: Gate) -> None:
        try:
            self._pass_gate(gate, self._observer.snapshot.instances)
        except GateError as error:
            self._roll_back(BeginRollback(f"{gate.name}: {error.message}"))

    def _approve(self, pause: Pause) -> None:
        self._options = replace(self._options, approve=False)  # one approval is for one gate
        if self._intent.asks != pause.gate:
            self._ask_for_approval(pause)
            return
        passed = (*self._intent.passed, pause.gate)
        approved = replace(self._intent, asks="", resumed=self._now(), passed=passed)
        self._remember(approved, f"approved: {pause.gate}")

    def _pause(self, pause: Pause) -> dict[str, Any]:
        if self._intent.asks != pause.gate:
            self._ask_for_approval(pause)
        self._note(f"paused: {pause.reason}")
        return self._result(pause)

    def _ask_for_approval(self, pause: Pause) -> None:
        self._remember(replace(self._intent, asks=pause.gate), f"asks for approval: {pause.gate}")

    def _remember(self, intent: Intent, event: str) -> None:
        super()._remember(intent, event)
        self._changed = True
        self._note_progress()

    def _roll_back(self, outcome: BeginRollback) -> None:
        culprit = outcome.culprit
        lines = last_console_lines(self._provider.compute, culprit, self._request.payload.secrets) if culprit else ()
        self._save(self._intent.begin_rollback(outcome.reason, culprit, lines))
        self._note_progress()
        self._timeline.add(f"rolling back: {outcome.reason}", None, culprit or None, self._now())

    def _may_retry(self, error: ProviderError) -> bool:
        return not error.permanent

    def _after_failure(self, error: ProviderError) -> None:
        """Give up a launch token whose instance is gone. If the provider does not say so, do it before the last try."""
        self._waited = False
        launches, self._launching = self._launching, ()
        if launches and (error.token_spent or self._failures >= self.retry_policy.tries - 1):
            retries = {**dict(self._intent.retries), **{launch.slot: launch.attempt + 1 for launch in launches}}
            self._save(replace(self._intent, retries=tuple(sorted(retries.items()))))

    def _payload(self, intent: Intent) -> Payload:
        """What a new instance gets at the present stage of the swap."""
        if intent.stage != ROLLBACK or (intent.origin and intent.origin.launch == intent.launch):
            return self._request.payload
        if self._request.origin is None:
            raise FleetError(
                f"{intent.fleet}: nothing is known of how the instances of {intent.desired.image_name} are launched"
            )
        return self._request.origin

    def _finish(self, done: Done) -> dict[str, Any]:
        if self._intent.begun:
            if self._intent.goal == ABSENT:
                self._permit.check()
                self._traffic.remove()
                self._changed = True
            self._close(DONE)
        return self._result(done)

    def _stopped(self, outcome: Stopped) -> FleetError:
        self._close(FAILED, outcome.reason)
        return FleetError(failure_message(self._intent, outcome.reason), reason=outcome.reason)

    def _record(self) -> dict[str, Any]:
        return {"endpoint": self._traffic.describe().get("endpoint"), **self._timeline.as_dict()}

    def _result(self, step: Outcome | None) -> dict[str, Any]:
        traffic = self._traffic.describe()
        return {
            "changed": self._changed,
            **swap_result(self._request, self._intent, self._observed, step),
            **self._timeline.as_dict(),
            "endpoint": None if self._intent.goal == ABSENT else traffic.get("endpoint"),
            "traffic": traffic,
            **self._provider.describe(self._intent.fleet),
        }

    def _note(self, event: str) -> None:
        self._timeline.add(event, None, None, self._now())

    def _note_progress(self) -> None:
        self._progress_at = self._event_at = self._now()
