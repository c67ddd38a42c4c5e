# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Observe, decide and act until Auto Scaling brought a group to an image, or back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._core.errors import FleetError, ProviderError
from ..._definition.model import Definition, Target
from ..._image_model import Image, ami_of
from ..._providers.contract import Clock, LaunchRequest
from ..._providers.group import (
    NO_WAY_BACK,
    RUNS_ALREADY,
    RUNS_NO_MORE,
    AutoScalingGroup,
    DesiredLaunch,
    GroupMachine,
)
from ..actions import AFTER_SWAP, BEFORE_SWAP, Done, Gate, Stopped, unknown_action
from ..model import DONE, FAILED, ROLLBACK, Intent
from ..run import FleetRun, RetryPolicy, RunOptions, RunServices
from .decide import (
    AwaitRefresh,
    CreateVersion,
    EndRefresh,
    GroupAction,
    GroupSnapshot,
    PinVersion,
    RefreshProgress,
    StartRefresh,
    Step,
    decide,
    outdated,
    predicted_steps,
    preferences,
)
from .result import (
    GroupInstance,
    RefreshTimeline,
    as_hosts,
    group_instances,
    images_by_ami,
    instance_dict,
    refresh_dict,
    spec_of,
)
from .seals import overdue, unsealed

OBSERVE_EVERY = 15.0  # seconds between two observations of a refresh
PATIENCE = 900.0  # seconds for which a refresh is not given up that cannot be observed: it goes on without the run
CALL = 20.0  # seconds that the lease must last for a changing call
SKEW = 60.0  # seconds by which the clocks of AWS and this machine may differ
TRANSIENT = (RUNS_ALREADY, RUNS_NO_MORE, NO_WAY_BACK, "ResourceContention", "ScalingActivityInProgress")


@dataclass(frozen=True, kw_only=True)
class GroupServices(RunServices):
    """The external services that the refresh of a group uses."""

    scaling: AutoScalingGroup
    clock: Clock


class InstanceRefreshRun(FleetRun[Step]):
    """One run: brings the group of one target to one image."""

    retry_policy = RetryPolicy(tries=5, delay=5.0, margin=CALL, patience=PATIENCE, longest_delay=OBSERVE_EVERY)

    def __init__(
        self,
        services: GroupServices,
        definition: Definition,
        target: Target,
        image: Image,
        *,
        request: LaunchRequest,
        options: RunOptions | None = None,
    ) -> None:
        """
        Args:
            request: of any instance of the group.
        """
        fleet = definition.fleet_name(target.name)
        super().__init__(services, services.clock, fleet, options or RunOptions())
        self._scaling = services.scaling
        self._store = services.store
        self._report = services.report
        self._definition = definition
        self._target = target
        self._image = image
        self._request = request
        self._spec = spec_of(target)
        self._timeline = RefreshTimeline(services.report, self._now())
        self._progress = RefreshProgress()
        self._snapshot: GroupSnapshot  # the last observation; run and predict begin with one
        self._listed: tuple[GroupSnapshot, list[GroupInstance]] | None = None  # instances of a snapshot
        self._proven: set[str] = set()  # instances of the wanted version that have sealed themselves
        self.before: list[dict[str, Any]] = []  # the instances as they were first observed

    def predict(self) -> dict[str, Any]:
        """What ``run`` would do: its result with ``plan``. Nothing is changed."""
        self._observe_first()
        self._intent = self._requested()
        steps = predicted_steps(self._snapshot, self._spec)
        for step in steps:
            self._report(f"expected: {step}")
        lines = [{"at": None, "action": step, "slot": None, "instance": None} for step in steps]
        plan = {"changed": bool(steps), "steps": lines, "preferences": self._preferences()}
        plan["last_failure"] = self._ledger.last_failure(self._image.digest)
        return {**self._result(None), "changed": bool(steps), "plan": plan}

    def _requested(self) -> Intent:
        """Only what is true of a group: the rest of an intent belongs to the swap engine."""
        fleet, group, image = self._target.fleet, self._snapshot.group, self._image
        return Intent(
            fleet=self._fleet,
            strategy="autoscaling",
            image=image.digest,
            image_name=image.name,
            launch=f"{group.template.id}:{self._snapshot.wanted.image}:{self._request.launch[:16]}",
            size=group.size,
            alarm=fleet.alarm,
            before_swap=fleet.before_swap or "",
            after_swap=fleet.after_swap or "",
            deadline=self._spec.deadline or 0.0,
            protected=self._spec.protected,
            standby=self._spec.standby,
        )

    def _first_step(self) -> Step:
        self._observe_first()
        self._load_intent()
        step = self._decide()
        if isinstance(step, Stopped) and not self._intent.begun:
            raise FleetError(step.reason, **self._result(step))
        return step

    def _ends_early(self, step: Step) -> bool:
        return not self._intent.begun and isinstance(step, Done)

    def _prepare(self, step: Step, resumed: bool) -> None:
        if resumed:
            self._observe()
            self._resume()
        elif isinstance(step, AwaitRefresh):
            self._watch(step)

    def _resume(self) -> None:
        """A refresh of the same swap counts, even if it ended in the meantime."""
        intent, snapshot = self._intent, self._snapshot
        since = intent.started - SKEW
        newer = [each for each in snapshot.refreshes if each.started >= since]
        started = [each for each in newer if snapshot.is_to_target(each)]
        progress = replace(self._progress, rollback_reason=intent.reason if intent.stage == ROLLBACK else "")
        if intent.stage == ROLLBACK and started and newer[0].template and not snapshot.is_to_target(newer[0]):
            # That run had begun to bring back what the group launched before.
            self._progress = replace(progress, watched=newer[0].id, since=self._now(), origin=newer[0].template)
            return
        self._progress = replace(progress, watched=started[0].id, since=self._now()) if started else progress

    def _next_step(self) -> Step:
        self._observe()
        self._judge()
        return self._decide()

    def _decide(self) -> Step:
        return decide(self._snapshot, self._progress, self._spec)

    def _carry_out(self, step: Step) -> dict[str, Any] | None:
        match step:
            case Done():
                return self._finish(step)
            case Stopped():
                raise self._stopped(step)
            case AwaitRefresh():
                self._watch(step)
                if not self._options.wait:
                    return self._result(step)
                self._lease.need(OBSERVE_EVERY + CALL)
                self._clock.wait(OBSERVE_EVERY)
            case PinVersion() | CreateVersion() | StartRefresh() | EndRefresh():
                self._act(step)
            case _:
                raise unknown_action(step)
        return None

    def _observe_first(self) -> None:
        self._observe()
        self.before = self._instance_dicts()

    def _observe(self) -> None:
        """Read the refreshes first: if one has ended by then, the group read afterwards shows its result."""
        scaling, image = self._scaling, self._image
        refreshes = tuple(scaling.refreshes())
        group = scaling.group()
        ami = ami_of(image.artifact, scaling.region, image.name, account=scaling.account)
        wanted = scaling.desired_launch(group, ami, image.name, self._request)
        self._refuse_user_data(wanted)
        self._snapshot = GroupSnapshot(self._now(), group, refreshes, wanted)
        self._observe_seals()
        self._timeline.observe(group)
        if self._progress.origin is None and group.template != wanted.template:
            self._progress = replace(self._progress, origin=group.template)

    def _observe_seals(self) -> None:
        """Read the evidence of new instances, once the run has begun to replace the old ones."""
        snapshot, wanted = self._snapshot, self._snapshot.wanted
        new = {each.id for each in snapshot.group.members if each.template == wanted.template}
        if self._intent.begun and wanted.seals and new - self._proven:
            instances = self._list(self._scaling.machines())
            waiting = unsealed(instances, wanted, self._progress.since)
            self._proven = new - {each.id for each in waiting}
            self._snapshot = replace(snapshot, unsealed=waiting)
            self._listed = (self._snapshot, instances)

    def _refuse_user_data(self, wanted: DesiredLaunch) -> None:
        if wanted.drops_user_data and not self._spec.drop_user_data:
            raise FleetError(
                f"launch template {wanted.source} has user data of its own, which no sealed host reads, and the new "
                "version needs the place for the launch document. Nothing was changed. Move what the user data does "
                "into the image or into settings, then remove it from the launch template or set "
                "fleet.autoscaling.drop_user_data: true"
            )

    def _judge(self) -> None:
        """Roll back if the image, an alarm or the deadline says so. A rollback is not taken back."""
        reason = self._rollback_reason()
        if self._progress.rollback_reason or not reason:
            return
        self._progress = replace(self._progress, rollback_reason=reason)
        if self._intent.begun:
            self._note(f"rolling back: {reason}")
            self._save(self._intent.begin_rollback(reason, "", ()))

    def _rollback_reason(self) -> str:
        """Why the group must roll back, or ""."""
        intent, at = self._intent, self._snapshot.at
        revoked = self._revoked().get(self._image.digest)
        if revoked:
            return f"{self._image.name} was {revoked}"
        limit = self._spec.deadline
        if limit is not None and intent.begun and at - intent.started > limit:
            return f"the swap took longer than its deadline of {limit:g} s"
        late = overdue(self._snapshot.unsealed, at, self._target.health.boot_deadline)
        if late:
            return late
        alarm = self._target.fleet.alarm
        problem = self._metrics.check(alarm, at) if alarm and intent.begun else ""
        return f"alarm: {problem}" if problem else ""

    def _watch(self, step: AwaitRefresh) -> None:
        self._begin()
        refresh = step.refresh
        if step.decisive and refresh and self._progress.watched != refresh.id:
            self._note(f"watching the refresh {refresh.id}")
            self._progress = replace(self._progress, watched=refresh.id, since=self._now())
            self._changed = True
        self._timeline.watches(refresh, step.reason, self._now())

    def _act(self, step: GroupAction) -> None:
        self._begin()
        if not self._progress.rollback_reason and not (isinstance(step, PinVersion) and self._progress.watched):
            self._ask(BEFORE_SWAP, self._target.fleet.before_swap)
        self._permit.check(CALL)
        self._changed = True
        scaling, snapshot = self._scaling, self._snapshot
        match step:
            case PinVersion():
                scaling.pin(step.template)
                self._progress = replace(self._progress, pinned=step.template)
                self._note(f"the group now launches {step.template}: {step.reason}")
            case CreateVersion():
                version = scaling.create_version(snapshot.wanted)
                self._note(f"created {version} from {snapshot.group.template} with {snapshot.wanted.image}")
            case StartRefresh():
                refresh = scaling.start(step.template, self._preferences(back=step.back))
                self._progress = replace(self._progress, watched=refresh, since=self._now())
                self._note(f"started the refresh {refresh} to {step.template}")
            case EndRefresh():
                self._end_refresh(step)
            case _:
                raise unknown_action(step)

    def _end_refresh(self, step: EndRefresh) -> None:
        refresh = step.refresh.id
        self._note(f"{'rolling back' if step.roll_back else 'cancelling'} the refresh {refresh}: {step.reason}")
        try:
            if step.roll_back:
                self._scaling.roll_back()
            else:
                self._scaling.cancel()
        except ProviderError as error:
            if error.code == NO_WAY_BACK:
                self._progress = replace(self._progress, reversible=False)
            raise
        watched = self._progress.watched or (refresh if self._progress.rollback_reason else "")
        self._progress = replace(self._progress, ending=refresh, ending_since=self._now(), watched=watched)

    def _ask(self, name: str, playbook: str | None) -> None:
        if not playbook or name in self._intent.passed:
            return
        intent = self._intent
        hosts = as_hosts(self._instances(), self._fleet, self._target.health.ports)
        # Before the swap a gate concerns no host yet, after it all hosts that run the image.
        ids = {host.id for host in hosts if name == AFTER_SWAP and host.image == intent.image}
        hosts = [replace(host, launch=intent.launch) if host.id in ids else host for host in hosts]
        slots = tuple(host.slot for host in hosts if host.id in ids)
        self._pass_gate(Gate(name, playbook=playbook, slots=slots), hosts)

    def _finish(self, done: Done) -> dict[str, Any]:
        if self._intent.begun:
            self._ask(AFTER_SWAP, self._target.fleet.after_swap)
            self._close(DONE)
        return self._result(done)

    def _stopped(self, step: Stopped) -> FleetError:
        left = len(outdated(self._snapshot, self._spec))
        state = f"the group launches {self._snapshot.group.template}, {left} instances do not run {self._image.name}"
        if self._intent.begun:
            self._close(FAILED, step.reason)
        return FleetError(
            f"the refresh of {self._fleet} to {self._image.name} was stopped: {step.reason}; {state}",
            reason=step.reason,
        )

    def _may_retry(self, error: ProviderError) -> bool:
        return error.code in TRANSIENT or (self._observing and not error.permanent)

    def _last_error(self, error: ProviderError) -> ProviderError:
        """AWS continues a refresh without the run, so the error says what becomes of it."""
        refresh = self._snapshot.active
        if refresh and self._intent.begun:
            what = f"the refresh {refresh.id} of {self._fleet}"
            error.message = f"{error.message}; {what} continues in AWS, and the next run joins it"
        return error

    def _preferences(self, *, back: bool = False) -> dict[str, Any]:
        return preferences(self._spec, self._snapshot.group, back=back)

    def _instance_dicts(self) -> list[dict[str, Any]]:
        return [instance_dict(instance, self._snapshot, self._spec) for instance in self._instances()]

    def _instances(self) -> list[GroupInstance]:
        """EC2 lists them once for each observation whose instances are needed."""
        if self._listed and self._listed[0] is self._snapshot:
            return self._listed[1]
        try:
            machines = self._scaling.machines()
        except ProviderError as error:  # here they complete the result and decide nothing
            self._note(f"EC2 does not list the instances: {error.message}")
            machines = []
        return self._list(machines)

    def _list(self, machines: Sequence[GroupMachine]) -> list[GroupInstance]:
        images = images_by_ami(self._store, self._definition.service)
        listed = group_instances(self._snapshot.group, machines, images)
        self._listed = (self._snapshot, listed)
        return listed

    def _note(self, event: str) -> None:
        self._timeline.add(event, self._now())

    def _record(self) -> dict[str, Any]:
        return self._timeline.as_dict()

    def _result(self, step: Step | None) -> dict[str, Any]:
        snapshot, intent = self._snapshot, self._intent
        instances = self._instance_dicts()
        refresh = snapshot.refresh(self._progress.watched) or snapshot.active
        return {
            "changed": self._changed,
            "fleet": self._fleet,
            "service": self._definition.service,
            "target": self._target.name,
            "image": self._image.digest,
            "image_name": self._image.name,
            "size": snapshot.group.size,
            "instances": instances,
            "volumes": [],
            "paused": step.reason if isinstance(step, AwaitRefresh) else None,
            "approval": None,
            "left_alone": [each["slot"] for each in instances if each["outdated"] and each["left_alone"]],
            "origin_image_name": intent.origin.image_name if intent.origin else None,
            "provider": self._target.provider,
            "group": snapshot.group.name,
            "launch": str(snapshot.group.template),
            "refresh": refresh_dict(refresh),
            **self._timeline.as_dict(),
        }
