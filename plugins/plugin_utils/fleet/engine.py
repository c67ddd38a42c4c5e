# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Observe, plan, act, until the plan says done. What a run leaves half done, the next one goes on with."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from ..errors import FleetError, ImmutableError
from ..progress import Report
from ..providers.base import Provider
from ..store.base import Store
from .hands import Hands
from .model import ABSENT, DONE, FAILED, OPEN, ROLLBACK, Intent, Observed, Request
from .observe import Observer, Prober
from .outcome import Act, BeginRollback, Done, Outcome, Remove, Stop, Stopped, Wait
from .plan import plan
from .promises import Promises
from .result import instance_dicts, volume_dicts
from .timeline import Timeline, iso

LOOK_EVERY = 1.0  # seconds at most between two looks while waiting, at a clock that does not know of all events
LOOK_AGAIN = 0.05  # seconds at least, so that a deadline is past when it is looked at
LAST_WORDS = 15  # lines of a failed instance's console that are kept


class Watch(Protocol):
    def check(self) -> None:
        """Raises AbandonedError when nothing may be changed any more."""


class Engine:
    """Brings one fleet to what a request asks for. Nothing of it outlives ``run`` but what provider and store hold."""

    def __init__(self, provider: Provider, store: Store, prober: Prober, guard: Watch, report: Report, look_every: float = LOOK_EVERY) -> None:
        self._provider = provider
        self._store = store
        self._prober = prober
        self._guard = guard
        self._report = report
        self._look_every = look_every

    def run(self, request: Request, lock_timeout: float = 0.0) -> dict[str, Any]:
        """Returns the task's result. Where nothing is due, no lock is taken and no changing call made.

        Raises FleetError when the swap stopped, LockedError when another run holds the fleet, ProviderError; with the result so far as details.
        """
        return _Run(self._provider, self._store, self._prober, self._guard, self._report, request, self._look_every).run(lock_timeout)


class _Run:
    def __init__(self, provider: Provider, store: Store, prober: Prober, guard: Watch, report: Report, request: Request, look_every: float) -> None:
        self._look_every = look_every
        self._provider = provider
        self._store = store
        self._guard = guard
        self._request = request
        self._fleet = request.intent.fleet
        self._traffic = provider.traffic(self._fleet)
        self._observer = Observer(provider, self._traffic, prober, self._fleet)
        self._hands = Hands(provider, self._traffic, request.payload, guard.check)
        self._timeline = Timeline(report, provider.clock.now())
        self._changed = False
        self._observed = Observed(provider.clock.now())
        self._moved_at = provider.clock.now()
        self._last: Outcome | None = None

    def run(self, lock_timeout: float) -> dict[str, Any]:
        intent, resumed = self._intent()
        if isinstance(self._look(intent), Done) and not resumed:
            return self._result(intent)
        with self._store.lock(f"fleet-{self._fleet}", f"swap of {self._fleet}", lock_timeout):
            intent, resumed = self._intent()
            try:
                return self._swap(intent, resumed)
            except ImmutableError as error:
                error.details = {**self._result(intent), **error.details}
                raise

    def _intent(self) -> tuple[Intent, bool]:
        """The intent to follow, and whether an earlier run began it. Another image or goal than before: the new request wins."""
        asked = self._request.intent
        found = self._store.read(self._key("intent.json"))
        if found is None:
            return replace(asked, started=self._provider.clock.now()), False
        stored = Intent.from_dict(found[0])
        if stored.status != OPEN or not stored.same_aim(asked):
            return replace(asked, started=self._provider.clock.now(), serial=stored.serial + 1), False
        kept = ("started", "stage", "reason", "turned", "culprit", "last_words", "serial")
        return replace(asked, **{name: getattr(stored, name) for name in kept}), True

    def _swap(self, intent: Intent, resumed: bool) -> dict[str, Any]:
        if resumed:
            self._timeline.add("going on with what an earlier run began", None, None, self._now())
        self._moved_at = self._now()
        saved = resumed
        while True:
            outcome = self._patient(self._look(intent, fresh=False), intent)
            if not isinstance(outcome, Wait):
                outcome = self._patient(self._look(intent), intent)
            if isinstance(outcome, Done):
                return self._finish(intent) if saved else self._result(intent)
            if not saved:
                self._save(intent)
                saved = True
            if isinstance(outcome, Stopped):
                raise self._failed(intent, outcome.reason)
            if isinstance(outcome, BeginRollback):
                intent = intent.turn_back(outcome.reason, outcome.culprit, self._last_words(outcome.culprit), self._now())
                self._save(intent)
                self._moved_at = self._now()
                self._timeline.add(f"rolling back: {outcome.reason}", None, outcome.culprit or None, self._now())
            elif isinstance(outcome, Wait):
                self._wait(outcome)
            else:
                intent = self._act(outcome, intent)

    def _look(self, intent: Intent, fresh: bool = True) -> Outcome:
        """Nothing is done but after a fresh look."""
        self._observed = self._observer.observe(fresh)
        if self._timeline.saw(self._observed):
            self._moved_at = self._now()
        return plan(self._observed, intent, self._now())

    def _act(self, outcome: Act, intent: Intent) -> Intent:
        repeated = outcome == self._last
        self._last = outcome
        promises = Promises(self._observed, intent)
        for action in outcome.actions:
            promises.allow(action)
            if isinstance(action, Remove):
                intent = replace(intent, serial=intent.serial + 1)
                self._save(intent)
            self._changed = True
            if isinstance(action, Stop):
                self._timeline.waits(f"{', '.join(action.ids)} to shut down, {intent.stop_timeout:g} s at most", self._now())
            for event in self._hands.act(action, self._observed, intent):
                self._timeline.add(*event, self._now())
        if repeated:  # it took no effect that could be seen: do not hammer, and do not take it for progress
            self._provider.clock.wait(LOOK_EVERY)
        else:
            self._moved_at = self._now()
        return intent

    def _patient(self, outcome: Outcome, intent: Intent) -> Outcome:
        """What has not moved for longer than all deadlines together, a wait or an action without effect, will never end by itself."""
        patience = intent.boot_deadline + intent.health_deadline + intent.drain_timeout + intent.stop_timeout
        stuck = isinstance(outcome, Wait) or outcome == self._last
        if not stuck or self._now() - self._moved_at <= patience:
            return outcome
        doing = outcome.reason if isinstance(outcome, Wait) else f"without effect: {outcome}"
        reason = f"nothing moved for {patience:g} s ({doing})"
        if intent.stage == ROLLBACK or intent.goal == ABSENT:
            return Stopped("; ".join(filter(None, [intent.reason, reason])))
        return BeginRollback(reason, "")

    def _wait(self, wait: Wait) -> None:
        now = self._now()
        self._timeline.waits(wait.reason, now)
        left = self._look_every if wait.until is None else max(wait.until - now, 0.0) + LOOK_AGAIN
        self._provider.clock.wait(min(left, self._look_every))

    def _finish(self, intent: Intent) -> dict[str, Any]:
        if intent.goal == ABSENT:
            self._guard.check()
            self._traffic.remove()
            self._changed = True
        self._close(replace(intent, status=DONE))
        return self._result(intent)

    def _failed(self, intent: Intent, reason: str) -> FleetError:
        self._close(replace(intent, status=FAILED, reason=reason))
        words = "".join(f"\n  | {line}" for line in intent.last_words)
        console = f"\nThe last lines of {intent.culprit}'s console:{words}" if words else ""
        return FleetError(f"the swap of {self._fleet} to {intent.image_name or intent.image} was stopped: {reason}{console}", reason=reason)

    def _close(self, intent: Intent) -> None:
        """The record first: a run that is cut between the two writes it again, under its own time."""
        record = {
            "intent": intent.as_dict(),
            "ended": iso(self._now()),
            "endpoint": self._traffic.describe().get("endpoint"),
            "timeline": self._timeline.entries,
            "lowest_in_service": self._timeline.lowest,
        }
        stamp = iso(self._now()).replace("-", "").replace(":", "")
        self._store.write(self._key(f"records/{stamp}-{intent.serial}.json"), record)
        self._save(intent)

    def _last_words(self, instance_id: str) -> tuple[str, ...]:
        if not instance_id:
            return ()
        lines = [line.strip() for line in self._provider.compute.console(instance_id).splitlines()]
        return tuple([line for line in lines if line][-LAST_WORDS:])

    def _result(self, intent: Intent) -> dict[str, Any]:
        traffic = self._traffic.describe()
        return {
            "changed": self._changed,
            "fleet": self._fleet,
            "service": self._request.service,
            "target": self._request.target,
            "image": intent.image or None,
            "image_name": intent.image_name or None,
            "size": intent.size,
            "instances": instance_dicts(self._observed, intent.image, intent.launch),
            "volumes": volume_dicts(self._observed),
            "endpoint": None if intent.goal == ABSENT else traffic.get("endpoint"),
            "traffic": traffic,
            "timeline": self._timeline.entries,
            "lowest_in_service": self._timeline.lowest,
            "peak": self._timeline.peak,
            **self._provider.describe(),
        }

    def _save(self, intent: Intent) -> None:
        self._store.write(self._key("intent.json"), intent.as_dict())

    def _key(self, name: str) -> str:
        return f"fleets/{self._fleet}/{name}"

    def _now(self) -> float:
        return self._provider.clock.now()
