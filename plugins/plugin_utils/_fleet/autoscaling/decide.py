# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is next for a group that Auto Scaling refreshes. Pure: from what was seen and what the run knows to one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._core.errors import ImageError
from ..._definition.model import AutoScaling
from ..._image_model import amis_of
from ..._providers.group import BACK, FORWARD, SUCCESSFUL, Group, Member, Refresh, Template, Wanted

UNSEEN = 120.0  # seconds that a refresh may take to be listed, and a group to show what a refresh made of it
ASK_AGAIN = 60.0  # seconds until a refresh that goes on as if it was not told to end is told again
WORDS = {"wait": "Wait", "ignore": "Ignore", "refresh": "Refresh", "terminate": "Terminate"}


@dataclass(frozen=True)
class GroupSnapshot:
    at: float
    group: Group
    refreshes: tuple[Refresh, ...]  # the newest first
    wanted: Wanted

    @property
    def active(self) -> Refresh | None:
        return next((each for each in self.refreshes if each.active), None)

    def refresh(self, refresh_id: str) -> Refresh | None:
        return next((each for each in self.refreshes if each.id == refresh_id), None)

    def ours(self, refresh: Refresh) -> bool:
        return refresh.template is not None and refresh.template == self.wanted.template


@dataclass(frozen=True)
class RefreshProgress:
    """What a run knows beside what it sees."""

    watched: str = ""  # id of the refresh whose end decides
    since: float = 0.0  # when it was begun or first seen
    back: str = ""  # why it must not go on
    reversible: bool = True  # as far as AWS said
    asked: str = ""  # id of the refresh that was told to end last
    asked_at: float = 0.0
    origin: Template | None = None  # what the group launched before
    pinned: Template | None = None  # what this run made the group launch last


@dataclass(frozen=True)
class Pin:
    """Let the group launch this version, a number."""

    template: Template
    why: str


@dataclass(frozen=True)
class Make:
    """A version of the launch template with the image."""


@dataclass(frozen=True)
class Begin:
    template: Template


@dataclass(frozen=True)
class End:
    """Tell an active refresh to end."""

    refresh: Refresh
    back: bool  # roll it back, not only cancel it
    why: str


@dataclass(frozen=True)
class Look:
    """Nothing to do but to look again later."""

    refresh: Refresh | None
    what: str
    mine: bool = False  # its end decides


@dataclass(frozen=True)
class Done:
    """All is as wanted, but for members that the policy leaves alone."""


@dataclass(frozen=True)
class Stop:
    reason: str


Step = Pin | Make | Begin | End | Look | Done | Stop


def decide(seen: GroupSnapshot, course: RefreshProgress, spec: AutoScaling) -> Step:
    active = seen.active
    if active:
        return _while_active(seen, active, course)
    watched = seen.refresh(course.watched)
    if course.watched and watched is None and seen.at - course.since < UNSEEN:
        return Look(None, "for the refresh to be listed")
    if watched and watched.status == SUCCESSFUL:
        return _arrived(seen, watched, course, spec)
    there = seen.group.template == seen.wanted.template and seen.group.pinned and not outdated(seen, spec)
    if course.back and (course.watched or not there):
        return _stopped(seen, course, course.back)
    if course.watched:
        return _stopped(seen, course, _end_of(watched))
    return _begin(seen, course, spec)


def _while_active(seen: GroupSnapshot, active: Refresh, course: RefreshProgress) -> Step:
    mine = seen.ours(active) or active.id == course.watched
    if active.status not in FORWARD or (active.id == course.asked and seen.at - course.asked_at < ASK_AGAIN):
        doing = (
            "goes back"
            if active.status in BACK
            else "was told to end"
            if active.id == course.asked
            else f"is {active.status}"
        )
        return Look(active, f"the refresh {active.id} {doing}", mine)
    if not mine:
        if course.back:
            return Stop(f"{course.back}; the refresh {active.id}, of somebody else, goes on")
        return End(
            active, False, f"it goes to {active.template or 'what the group launches'}, not to the image that is due"
        )
    if course.back:
        return End(active, course.reversible and seen.group.reversible and active.template is not None, course.back)
    return Look(active, f"the refresh {active.id} goes on", mine)


def _end_of(watched: Refresh | None) -> str:
    if watched is None:
        return "the refresh is not listed any more"
    return f"the refresh {watched.id} ended as {watched.status}" + (f": {watched.reason}" if watched.reason else "")


def _begin(seen: GroupSnapshot, course: RefreshProgress, spec: AutoScaling) -> Step:
    group, wanted = seen.group, seen.wanted.template
    if wanted == group.template and not outdated(seen, spec):
        return Done() if group.pinned else Pin(wanted, f"it stood at {group.named}")
    if spec.auto_rollback and not group.reversible:
        return Stop(
            f"group {group.name} launches an image that a parameter names ({group.image}), and to that Auto Scaling cannot go back "
            "(allowed: auto_rollback: false, or an AMI in the launch template)"
        )
    if (
        not group.pinned and course.pinned != group.template
    ):  # before there is a new version, which an alias would move to
        return Pin(group.template, f"it stood at {group.named}, to which no refresh can go back")
    return Make() if wanted is None else Begin(wanted)


def _arrived(seen: GroupSnapshot, watched: Refresh, course: RefreshProgress, spec: AutoScaling) -> Step:
    wanted = seen.wanted.template or seen.group.template
    elsewhere = seen.group.template != wanted or not seen.group.pinned
    left = outdated(seen, spec)
    if (elsewhere or left) and seen.at - watched.ended < UNSEEN:
        return Look(watched, "the group to show what came of the refresh", True)
    if elsewhere and course.pinned != wanted:
        return Pin(wanted, "the refresh made it so everywhere")
    if left:
        return Stop(
            f"the refresh {watched.id} was successful, and yet {', '.join(each.id for each in left)} run another version"
        )
    return Done()


def _stopped(seen: GroupSnapshot, course: RefreshProgress, reason: str) -> Step:
    """What runs is what the group shall launch, lest it makes instances of what just failed."""
    runs = what_runs(seen.group, course.origin)
    if (seen.group.template != runs or not seen.group.pinned) and course.pinned != runs:
        return Pin(runs, "this is what runs")
    return Stop(reason)


def what_runs(group: Group, origin: Template | None) -> Template:
    """The version before, where an instance still has it; else what the group launches, likewise; else what most have."""
    counts = Counter(
        each.template
        for each in group.members
        if not each.leaving and each.template and each.template.id == group.template.id
    )
    for version in (origin, group.template):
        if version and (version in counts or not counts):
            return version
    return max(counts, key=lambda version: (counts[version], -int(version.version)))


def outdated(seen: GroupSnapshot, spec: AutoScaling) -> list[Member]:
    """Members that a refresh would replace."""
    return [
        each
        for each in seen.group.members
        if not each.leaving and each.template != seen.wanted.template and not left_alone(each, spec)
    ]


def left_alone(member: Member, spec: AutoScaling) -> bool:
    return (member.protected and spec.protected == "ignore") or (
        member.state in ("Standby", "EnteringStandby") and spec.standby == "ignore"
    )


def preferences(spec: AutoScaling, group: Group) -> dict[str, Any]:
    """All of them, so that nothing of the group's or of AWS's defaults decides. No checkpoints and no alarms are said by leaving them out."""
    told: dict[str, Any] = {
        "MinHealthyPercentage": spec.min_healthy,
        "MaxHealthyPercentage": spec.max_healthy,
        "InstanceWarmup": group.warmup if spec.warmup is None else int(spec.warmup),
        "BakeTime": int(spec.bake_time),
        "AutoRollback": spec.auto_rollback,
        "SkipMatching": spec.skip_matching,
        "ScaleInProtectedInstances": WORDS[spec.protected],
        "StandbyInstances": WORDS[spec.standby],
    }
    if spec.checkpoints:
        told |= {"CheckpointPercentages": list(spec.checkpoints), "CheckpointDelay": int(spec.checkpoint_delay)}
    return {**told, "AlarmSpecification": {"Alarms": list(spec.alarms)}} if spec.alarms else told


def ami_of(artifact: Mapping[str, Any], region: str, name: str) -> str:
    """The image's AMI in a region. Raises ImageError where it has none there."""
    amis = amis_of(artifact)
    if region not in amis:
        raise ImageError(
            f"{name} has no AMI in {region} (it has one in: {', '.join(sorted(amis)) or 'none'}); copy it there, or bake it for this target"
        )
    return amis[region]
