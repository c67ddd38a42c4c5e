# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look, decide, act, until Auto Scaling brought a group to an image or back. What a killed run leaves, the next one goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..._core.errors import FleetError, GateError, ImmutableError, ProviderError
from ..._core.progress import Report
from ..._definition.model import AutoScaling as Spec
from ..._definition.model import Definition, Target
from ..._image_model import Image
from ..._providers.contract import Clock
from ..._providers.group import NO_WAY_BACK, RUNS_ALREADY, RUNS_NO_MORE, AutoScaling, Template
from ..._store.base import Store
from ..actions import Gate
from ..gates import MetricWatcher
from ..ledger import Ledger
from ..model import DONE, FAILED, ROLLBACK, Intent
from ..planning.plan import AFTER, BEFORE
from ..ports import Gates, Guard, Lease
from ..swap.engine import RunOptions
from .decide import (
    Begin,
    Done,
    End,
    GroupSnapshot,
    Look,
    Make,
    Pin,
    RefreshProgress,
    Step,
    Stop,
    ami_of,
    decide,
    outdated,
    preferences,
)
from .result import GroupInstance, RefreshTimeline, hosts, images_by_ami, instance_dict, places, refresh_dict, spec_of

LOOK_EVERY = 15.0  # seconds between two looks at a refresh
CALL = 20.0  # seconds of the lease that a changing call wants at least
SKEW = 60.0  # seconds by which AWS's time of day and ours may differ
TRIES = 5  # of what Auto Scaling refuses for a reason that passes
RETRY = 5.0  # seconds, after the first
PASSING = (RUNS_ALREADY, RUNS_NO_MORE, NO_WAY_BACK, "ResourceContention", "ScalingActivityInProgress")
TAG = "immutable:"  # before the names of what instances and their volumes are tagged with
STRATEGY = "autoscaling"


@dataclass(frozen=True)
class GroupServices:
    """All that a run reaches the world by."""

    scaling: AutoScaling
    store: Store
    clock: Clock
    guard: Guard
    lease: Lease
    gates: Gates
    report: Report
    revoked: Callable[[], Mapping[str, str]] = dict  # digest -> why


class InstanceRefreshRun:
    """One run: the group of one target to one image."""

    def __init__(
        self, means: GroupServices, definition: Definition, target: Target, image: Image, how: RunOptions | None = None
    ) -> None:
        self._means = means
        self._definition = definition
        self._target = target
        self._image = image
        self._how = how or RunOptions()
        self._spec = spec_of(target)
        self._fleet = definition.fleet_name(target.name)
        self._ledger = Ledger(means.store, self._fleet, lambda: self._may_change(0.0))
        self._watch = MetricWatcher(means.gates)
        self._story = RefreshTimeline(means.report, means.clock.now())
        self._course = RefreshProgress()
        self._changed = False
        self._failures = 0
        self.before: list[dict[str, Any]] = []  # the instances as they were told first
        self._seen: GroupSnapshot | None = None
        self._listed: tuple[GroupSnapshot | None, list[GroupInstance]] = (
            None,
            [],
        )  # what EC2 told, and beside which look

    def foresee(self) -> dict[str, Any]:
        """What ``run`` would do, as its result with ``plan``. Nothing is changed."""
        seen = self._first()
        steps = predicted_steps(seen, self._spec)
        for step in steps:
            self._means.report(f"would be  {step}")
        told = [{"at": None, "action": step, "slot": None, "instance": None} for step in steps]
        plan = {"changed": bool(steps), "steps": told, "preferences": preferences(self._spec, seen.group)}
        return {**self._result(self._asked(seen), ""), "changed": bool(steps), "plan": plan}

    def run(self) -> dict[str, Any]:
        """Returns the task's result. Where nothing is due, no lease is taken and no changing call made.

        Raises FleetError when the group was not brought to the image; LockedError, ProviderError; with the result so far as details.
        """
        seen = self._first()
        intent, _resumed = self._ledger.intent(self._asked(seen), self._now())
        step = decide(seen, self._course, self._spec)
        if not intent.begun and isinstance(step, Done):
            return self._result(intent, "")
        if not intent.begun and isinstance(step, Stop):
            raise FleetError(step.reason, **self._result(intent, ""))
        self._means.lease.acquire(self._how.lock_timeout)
        try:
            intent, resumed = self._ledger.intent(self._asked(seen), self._now())
            if resumed:
                self._story.add("going on with what an earlier run began", self._now())
                self._resume(intent, self._look())
            elif isinstance(step, Look):
                intent = self._noted(intent, step)
            return self._go(intent)
        except ImmutableError as error:
            error.details = {**self._result(intent, ""), **error.details}
            raise
        finally:
            self._means.lease.release()

    def _resume(self, intent: Intent, seen: GroupSnapshot) -> None:
        """A refresh of the same swap counts, even where it ended meanwhile."""
        begun = [each for each in seen.refreshes if seen.ours(each) and each.started >= intent.started - SKEW]
        course = replace(self._course, back=intent.reason if intent.stage == ROLLBACK else "")
        self._course = replace(course, watched=begun[0].id, since=self._now()) if begun else course

    def _go(self, intent: Intent) -> dict[str, Any]:
        while True:
            try:
                seen = self._look()
                intent = self._judged(intent, seen)
                step = decide(seen, self._course, self._spec)
                if isinstance(step, Done):
                    return self._finish(intent)
                if isinstance(step, Stop):
                    raise self._stopped(intent, step)
                if isinstance(step, Look):
                    intent = self._noted(intent, step)
                    if not self._how.wait:
                        return self._result(intent, step.what)
                    self._means.lease.need(LOOK_EVERY + CALL)
                    self._means.clock.wait(LOOK_EVERY)
                else:
                    intent = self._act(step, intent, seen)
                self._failures = 0
            except ProviderError as error:
                self._try_again(error)

    def _first(self) -> GroupSnapshot:
        seen = self._look()
        self.before = self._told(seen)
        return seen

    def _look(self) -> GroupSnapshot:
        """Refreshes first: of one that is seen to have ended, the group then shows what came of it."""
        scaling, image = self._means.scaling, self._image
        refreshes = tuple(scaling.refreshes())
        group = scaling.group()
        ami = ami_of(image.artifact, scaling.region, image.name)
        wanted = scaling.wanted(group, ami, image.name, {f"{TAG}image": image.digest, f"{TAG}image_name": image.name})
        self._seen = seen = GroupSnapshot(self._now(), group, refreshes, wanted)
        self._story.saw(group)
        if self._course.origin is None and group.template != wanted.template:
            self._course = replace(self._course, origin=group.template)
        return seen

    def _judged(self, intent: Intent, seen: GroupSnapshot) -> Intent:
        """Whether something says no to the image that is on its way. Once it was said, it stays."""
        reason = self._no(intent, seen)
        if self._course.back or not reason:
            return intent
        self._course = replace(self._course, back=reason)
        if not intent.begun:
            return intent
        self._story.add(f"going back: {reason}", self._now())
        intent = intent.turn_back(reason, "", ())
        self._ledger.save(intent)
        return intent

    def _no(self, intent: Intent, seen: GroupSnapshot) -> str:
        revoked = self._means.revoked().get(self._image.digest)
        if revoked:
            return f"{self._image.name} was {revoked}"
        limit = self._spec.deadline
        if limit is not None and intent.begun and seen.at - intent.started > limit:
            return f"the swap took longer than its deadline of {limit:g} s"
        alarm = self._target.fleet.alarm
        wrong = self._watch.look(alarm, seen.at) if alarm and intent.begun else ""
        return f"alarm: {wrong}" if wrong else ""

    def _begun(self, intent: Intent) -> Intent:
        """Before anything is done, the store knows what it is about."""
        if not intent.begun:
            intent = replace(intent, begun=True)
            self._ledger.save(intent)
        return intent

    def _noted(self, intent: Intent, step: Look) -> Intent:
        intent = self._begun(intent)
        course = self._course
        if step.mine and step.refresh and course.watched != step.refresh.id:
            self._story.add(f"watching the refresh {step.refresh.id}", self._now())
            self._course = replace(course, watched=step.refresh.id, since=self._now())
            self._changed = True
        self._story.watches(step.refresh, step.what, self._now())
        return intent

    def _act(self, step: Pin | Make | Begin | End, intent: Intent, seen: GroupSnapshot) -> Intent:
        intent = self._begun(intent)
        if not self._course.back and not (isinstance(step, Pin) and self._course.watched):
            intent = self._gate(BEFORE, self._target.fleet.before_swap, intent)
        self._may_change(CALL)
        self._changed = True
        scaling = self._means.scaling
        if isinstance(step, Pin):
            scaling.pin(step.template)
            self._course = replace(self._course, pinned=step.template)
            self._tell(f"the group launches {step.template} from now on: {step.why}")
        elif isinstance(step, Make):
            self._tell(f"made {scaling.make(seen.wanted)} of {seen.group.template}, with {seen.wanted.image}")
        elif isinstance(step, Begin):
            refresh = scaling.start(step.template, preferences(self._spec, seen.group))
            self._course = replace(self._course, watched=refresh, since=self._now())
            self._tell(f"began the refresh {refresh} to {step.template}")
        else:
            self._end(step)
        return intent

    def _end(self, step: End) -> None:
        doing = "rolling back" if step.back else "cancelling"
        self._tell(f"{doing} the refresh {step.refresh.id}: {step.why}")
        try:
            if step.back:
                self._means.scaling.roll_back()
            else:
                self._means.scaling.cancel()
        except ProviderError as error:
            if error.details.get("code") == NO_WAY_BACK:
                self._course = replace(self._course, reversible=False)
            raise
        watched = self._course.watched or (step.refresh.id if self._course.back else "")
        self._course = replace(self._course, asked=step.refresh.id, asked_at=self._now(), watched=watched)

    def _gate(self, name: str, playbook: str | None, intent: Intent) -> Intent:
        if not playbook or name in intent.passed:
            return intent
        self._may_change(0.0)
        self._tell(f"gate: {name}")
        found = hosts(self._places(self._seen) if self._seen else [], self._fleet, self._target.health.ports)
        # Before a swap a gate is about no host yet, after it about all that run the image.
        stage = {each.id for each in found if name == AFTER and each.image == intent.image}
        found = [replace(each, launch=intent.launch) if each.id in stage else each for each in found]
        try:
            self._means.gates.play(
                Gate(name, playbook=playbook, slots=tuple(each.slot for each in found if each.id in stage)),
                intent,
                found,
            )
        except GateError as error:  # nothing of the group is to blame: the next run tries it again
            raise FleetError(f"{name}: {error.message}", **error.details) from error
        self._tell(f"passed: {name}")
        intent = replace(intent, passed=(*intent.passed, name))
        self._ledger.save(intent)
        return intent

    def _told(self, seen: GroupSnapshot) -> list[dict[str, Any]]:
        return [instance_dict(place, seen, self._spec) for place in self._places(seen)]

    def _places(self, seen: GroupSnapshot) -> list[GroupInstance]:
        """EC2 is asked once for each look whose instances are told."""
        if self._listed[0] is seen:
            return self._listed[1]
        try:
            machines = self._means.scaling.machines()
        except ProviderError as error:  # it completes what is told, and decides nothing
            self._tell(f"EC2 does not list the instances: {error.message}")
            machines = []
        self._listed = (seen, places(seen.group, machines, images_by_ami(self._means.store, self._definition.service)))
        return self._listed[1]

    def _finish(self, intent: Intent) -> dict[str, Any]:
        if intent.begun:
            intent = self._gate(AFTER, self._target.fleet.after_swap, intent)
            self._ledger.close(replace(intent, status=DONE), self._now(), self._story.as_dict())
        return self._result(intent, "")

    def _stopped(self, intent: Intent, stop: Stop) -> FleetError:
        seen = self._seen
        runs = f"; the group launches {seen.group.template}" if seen else ""
        left = len(outdated(seen, self._spec)) if seen else 0
        how = f"{runs}, {left} instances do not run {self._image.name}"
        if intent.begun:
            self._ledger.close(replace(intent, status=FAILED, reason=stop.reason), self._now(), self._story.as_dict())
        return FleetError(
            f"the refresh of {self._fleet} to {self._image.name} was stopped: {stop.reason}{how}", reason=stop.reason
        )

    def _try_again(self, error: ProviderError) -> None:
        """Only after what passes by itself: the next look tells whether the call had its effect."""
        self._failures += 1
        if error.details.get("code") not in PASSING or self._failures >= TRIES:
            raise error
        self._tell(f"trying again: {error.message}")
        wait = RETRY * 2 ** (self._failures - 1)
        self._means.lease.need(wait + CALL)
        self._means.clock.wait(wait)

    def _may_change(self, seconds: float) -> None:
        self._means.guard.check()
        self._means.lease.need(seconds)

    def _now(self) -> float:
        return self._means.clock.now()

    def _tell(self, event: str) -> None:
        self._story.add(event, self._now())

    def _asked(self, seen: GroupSnapshot) -> Intent:
        """Only what is true of a group: everything else of an intent belongs to our own engine."""
        fleet, image = self._target.fleet, self._image
        return Intent(
            fleet=self._fleet,
            strategy=STRATEGY,
            image=image.digest,
            image_name=image.name,
            launch=f"{seen.group.template.id}:{seen.wanted.image}",
            size=seen.group.size,
            alarm=fleet.alarm,
            before_swap=fleet.before_swap or "",
            after_swap=fleet.after_swap or "",
            deadline=self._spec.deadline or 0.0,
            protected=self._spec.protected,
            standby=self._spec.standby,
        )

    def _result(self, intent: Intent, waits: str) -> dict[str, Any]:
        seen = self._seen
        if seen is None:
            return {"changed": self._changed}
        told = self._told(seen)
        refresh = seen.refresh(self._course.watched) or seen.active
        return {
            "changed": self._changed,
            "fleet": self._fleet,
            "service": self._definition.service,
            "target": self._target.name,
            "image": self._image.digest,
            "image_name": self._image.name,
            "size": seen.group.size,
            "instances": told,
            "volumes": [],
            "paused": waits or None,
            "approval": None,
            "left_alone": [each["slot"] for each in told if each["outdated"] and each["left_alone"]],
            "origin_image_name": intent.origin.image_name if intent.origin else None,
            "provider": self._target.provider,
            "group": seen.group.name,
            "launch": str(seen.group.template),
            "refresh": refresh_dict(refresh),
            **self._story.as_dict(),
        }


def predicted_steps(seen: GroupSnapshot, spec: Spec) -> list[str]:
    """The steps of a run from here, as lines."""
    step: Step = decide(seen, RefreshProgress(), spec)
    if isinstance(step, Done):
        return []
    if isinstance(step, Stop):
        raise FleetError(step.reason)
    if isinstance(step, Look):
        return [f"watch: {step.what}"] if step.mine else [f"wait: {step.what}", *_refreshing(seen, spec)]
    if isinstance(step, End):
        return [f"cancel the refresh {step.refresh.id}: {step.why}", *_refreshing(seen, spec)]
    if isinstance(step, Pin):
        pinned = f"let the group launch {step.template}: {step.why}"
        return (
            [pinned]
            if step.template == seen.wanted.template and not outdated(seen, spec)
            else [pinned, *_refreshing(seen, spec)]
        )
    return _refreshing(seen, spec)


def _refreshing(seen: GroupSnapshot, spec: Spec) -> list[str]:
    template: Template | None = seen.wanted.template
    make = (
        []
        if template
        else [f"make a version of {seen.group.template.id} from {seen.group.template.version} with {seen.wanted.image}"]
    )
    return [*make, f"refresh {len(outdated(seen, spec))} instances of {seen.group.name} to {template or 'it'}"]
