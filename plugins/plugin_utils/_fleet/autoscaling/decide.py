# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The next step for a group that Auto Scaling refreshes: a pure function of the observation and the run's progress."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ..._core.errors import FleetError
from ..._definition.model import AutoScaling
from ..._providers.group import BACK, FORWARD, SUCCESSFUL, DesiredLaunch, Group, GroupMember, LaunchTemplate, Refresh
from ..actions import Done, Stopped, unknown_action

VISIBLE_AFTER = 120.0  # seconds until a new refresh is listed, and until a group shows the result of a refresh
REPEAT_END_AFTER = 60.0  # seconds until a refresh that does not react to a request to end gets another one
IN_STANDBY = ("Standby", "EnteringStandby")
POLICY_VALUES = {"wait": "Wait", "ignore": "Ignore", "refresh": "Refresh", "terminate": "Terminate"}


@dataclass(frozen=True)
class Unsealed:
    """An instance that should run the image, and has not proven yet that it does."""

    id: str
    reason: str
    launched: float


@dataclass(frozen=True)
class GroupSnapshot:
    at: float
    group: Group
    refreshes: tuple[Refresh, ...]  # the newest first
    wanted: DesiredLaunch
    unsealed: tuple[Unsealed, ...] = ()  # () until a run has begun

    @property
    def active(self) -> Refresh | None:
        return next((refresh for refresh in self.refreshes if refresh.active), None)

    def refresh(self, refresh_id: str) -> Refresh | None:
        return next((refresh for refresh in self.refreshes if refresh.id == refresh_id), None)

    def is_to_target(self, refresh: Refresh) -> bool:
        return refresh.template is not None and refresh.template == self.wanted.template


@dataclass(frozen=True)
class RefreshProgress:
    """What a run knows besides what it observes."""

    watched: str = ""  # id of the refresh whose end decides
    since: float = 0.0  # when it was started or first observed
    rollback_reason: str = ""  # why the group must roll back
    reversible: bool = True  # False once AWS refused to roll back
    ending: str = ""  # id of the refresh that was last asked to end
    ending_since: float = 0.0
    origin: LaunchTemplate | None = None  # what the group launched before
    pinned: LaunchTemplate | None = None  # what this run last made the group launch


@dataclass(frozen=True)
class PinVersion:
    """Let the group launch this version, a number."""

    template: LaunchTemplate
    reason: str


@dataclass(frozen=True)
class CreateVersion:
    """Create a version of the launch template with the image."""


@dataclass(frozen=True)
class StartRefresh:
    template: LaunchTemplate
    back: bool = False  # to what the group launched before, after a refresh that cannot roll back any more


@dataclass(frozen=True)
class EndRefresh:
    """Ask an active refresh to end."""

    refresh: Refresh
    roll_back: bool  # False: only cancel it
    reason: str


@dataclass(frozen=True)
class AwaitRefresh:
    """Do nothing, and observe again later."""

    refresh: Refresh | None
    reason: str
    decisive: bool = False  # the end of this refresh decides how the run ends


GroupAction = PinVersion | CreateVersion | StartRefresh | EndRefresh
Step = GroupAction | AwaitRefresh | Done | Stopped


def decide(snapshot: GroupSnapshot, progress: RefreshProgress, spec: AutoScaling) -> Step:
    active = snapshot.active
    if active:
        return _while_active(snapshot, active, progress)
    watched = snapshot.refresh(progress.watched)
    if progress.watched and watched is None and snapshot.at - progress.since < VISIBLE_AFTER:
        return AwaitRefresh(None, "the refresh is not listed yet")
    if watched and watched.status == SUCCESSFUL:
        if progress.rollback_reason and not snapshot.is_to_target(watched):
            return _stop(snapshot, progress, progress.rollback_reason)
        return _after_success(snapshot, watched, progress, spec)
    group = snapshot.group
    reached = group.template == snapshot.wanted.template and group.pinned and not outdated(snapshot, spec)
    if progress.rollback_reason and (progress.watched or not reached):
        return _stop(snapshot, progress, progress.rollback_reason)
    if progress.watched:
        return _stop(snapshot, progress, _end_of(watched))
    return _begin(snapshot, progress, spec)


def _while_active(snapshot: GroupSnapshot, active: Refresh, progress: RefreshProgress) -> Step:
    decisive = snapshot.is_to_target(active) or active.id == progress.watched
    asked_to_end = active.id == progress.ending and snapshot.at - progress.ending_since < REPEAT_END_AFTER
    if active.status not in FORWARD or asked_to_end:
        if active.status in BACK:
            state = "is ending"
        else:
            state = "was asked to end" if active.id == progress.ending else f"is {active.status}"
        return AwaitRefresh(active, f"the refresh {active.id} {state}", decisive)
    if not decisive:
        if progress.rollback_reason:
            return Stopped(
                f"{progress.rollback_reason}; the refresh {active.id}, which somebody else started, continues"
            )
        target = active.template or "what the group launches"
        return EndRefresh(active, False, f"its target is {target}, not the image that is due")
    if progress.rollback_reason and not snapshot.is_to_target(active):
        return AwaitRefresh(active, f"the refresh {active.id} brings back {active.template}", decisive)
    if progress.rollback_reason:
        reversible = progress.reversible and snapshot.group.reversible and active.template is not None
        return EndRefresh(active, reversible, progress.rollback_reason)
    return AwaitRefresh(active, f"the refresh {active.id} is running", decisive)


def _end_of(watched: Refresh | None) -> str:
    if watched is None:
        return "the refresh is not listed any more"
    return f"the refresh {watched.id} ended as {watched.status}" + (f": {watched.reason}" if watched.reason else "")


def _begin(snapshot: GroupSnapshot, progress: RefreshProgress, spec: AutoScaling) -> Step:
    group, wanted = snapshot.group, snapshot.wanted.template
    if wanted == group.template and not outdated(snapshot, spec):
        return Done() if group.pinned else PinVersion(wanted, f"it was set to {group.configured_version}")
    if spec.auto_rollback and not group.reversible:
        return Stopped(
            f"group {group.name} launches an image that a parameter names ({group.image}), and Auto Scaling cannot "
            "roll back to such an image (allowed: auto_rollback: false, or an AMI in the launch template)"
        )
    # An alias would move to the new version, so the group is pinned before there is one.
    if not group.pinned and progress.pinned != group.template:
        return PinVersion(
            group.template, f"it was set to {group.configured_version}, to which no refresh can roll back"
        )
    return CreateVersion() if wanted is None else StartRefresh(wanted)


def _after_success(snapshot: GroupSnapshot, watched: Refresh, progress: RefreshProgress, spec: AutoScaling) -> Step:
    wanted = snapshot.wanted.template or snapshot.group.template
    elsewhere = snapshot.group.template != wanted or not snapshot.group.pinned
    left = outdated(snapshot, spec)
    if (elsewhere or left) and snapshot.at - watched.ended < VISIBLE_AFTER:
        return AwaitRefresh(watched, "the group does not show the result of the refresh yet", decisive=True)
    if elsewhere and progress.pinned != wanted:
        return PinVersion(wanted, "the refresh replaced every instance with it")
    if left:
        ids = ", ".join(member.id for member in left)
        return Stopped(f"the refresh {watched.id} was successful, but these instances run another version: {ids}")
    return _after_replacement(snapshot, watched, progress)


def _after_replacement(snapshot: GroupSnapshot, watched: Refresh, progress: RefreshProgress) -> Step:
    """Auto Scaling is done once the instances respond. The run is done once they have proven their image as well."""
    if not snapshot.unsealed:
        return Done()
    if not progress.rollback_reason:
        first = snapshot.unsealed[0]
        return AwaitRefresh(watched, f"{first.id}: {first.reason}", decisive=True)
    if progress.origin is None:  # another run began, so it is not known what the group launched before
        return Stopped(progress.rollback_reason)
    return StartRefresh(progress.origin, back=True)


def _stop(snapshot: GroupSnapshot, progress: RefreshProgress, reason: str) -> Step:
    """Let the group launch what its instances run, so that it does not launch what just failed."""
    running = running_version(snapshot.group, progress.origin)
    group = snapshot.group
    if (group.template != running or not group.pinned) and progress.pinned != running:
        return PinVersion(running, "its instances run this version")
    return Stopped(reason)


def running_version(group: Group, origin: LaunchTemplate | None) -> LaunchTemplate:
    """The version that the group's instances run.

    The origin if an instance still runs it, else what the group launches if one runs that, else the most frequent one.
    """
    counts = Counter(
        member.template
        for member in group.members
        if not member.leaving and member.template and member.template.id == group.template.id
    )
    for version in (origin, group.template):
        if version and (version in counts or not counts):
            return version
    return max(counts, key=lambda version: (counts[version], -int(version.version)))


def outdated(snapshot: GroupSnapshot, spec: AutoScaling) -> list[GroupMember]:
    """Members that a refresh would replace."""
    return [
        member
        for member in snapshot.group.members
        if not member.leaving and member.template != snapshot.wanted.template and not left_alone(member, spec)
    ]


def left_alone(member: GroupMember, spec: AutoScaling) -> bool:
    return (member.protected and spec.protected == "ignore") or (
        member.state in IN_STANDBY and spec.standby == "ignore"
    )


def preferences(spec: AutoScaling, group: Group, *, back: bool = False) -> dict[str, Any]:
    """The preferences of ``StartInstanceRefresh``.

    All are spelled out, so that no default of the group or of AWS decides. Checkpoints and
    alarms that are left out do not apply.

    Args:
        back: of a refresh that brings back what the group launched before: as fast as the floor allows, and without a
            rollback to what just failed.
    """
    if back:
        spec = replace(spec, checkpoints=(), bake_time=0.0, alarms=(), auto_rollback=False)
    chosen: dict[str, Any] = {
        "MinHealthyPercentage": spec.min_healthy,
        "MaxHealthyPercentage": spec.max_healthy,
        "InstanceWarmup": group.warmup if spec.warmup is None else int(spec.warmup),
        "BakeTime": int(spec.bake_time),
        "AutoRollback": spec.auto_rollback,
        "SkipMatching": spec.skip_matching,
        "ScaleInProtectedInstances": POLICY_VALUES[spec.protected],
        "StandbyInstances": POLICY_VALUES[spec.standby],
    }
    if spec.checkpoints:
        chosen |= {"CheckpointPercentages": list(spec.checkpoints), "CheckpointDelay": int(spec.checkpoint_delay)}
    return {**chosen, "AlarmSpecification": {"Alarms": list(spec.alarms)}} if spec.alarms else chosen


def predicted_steps(snapshot: GroupSnapshot, spec: AutoScaling) -> list[str]:
    """The steps of a run from here, as lines. Raises FleetError if the run would stop."""
    step = decide(snapshot, RefreshProgress(), spec)
    refreshing = _refresh_lines(snapshot, spec)
    match step:
        case Done():
            return []
        case Stopped():
            raise FleetError(step.reason)
        case AwaitRefresh():
            return [f"watch: {step.reason}"] if step.decisive else [f"wait: {step.reason}", *refreshing]
        case EndRefresh():
            return [f"cancel the refresh {step.refresh.id}: {step.reason}", *refreshing]
        case PinVersion():
            pinned = f"let the group launch {step.template}: {step.reason}"
            is_all = step.template == snapshot.wanted.template and not outdated(snapshot, spec)
            return [pinned] if is_all else [pinned, *refreshing]
        case CreateVersion() | StartRefresh():
            return refreshing
        case _:
            raise unknown_action(step)


def _refresh_lines(snapshot: GroupSnapshot, spec: AutoScaling) -> list[str]:
    group, wanted = snapshot.group, snapshot.wanted
    source, count = group.template, len(outdated(snapshot, spec))
    if wanted.template:
        return [f"refresh {count} instances of {group.name} to {wanted.template}"]
    dropped = ", without its user data" if wanted.drops_user_data else ""
    return [
        f"create a version of {source.id} from version {source.version} with {wanted.image}{dropped}",
        f"refresh {count} instances of {group.name} to the new version",
    ]
