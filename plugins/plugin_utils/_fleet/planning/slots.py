# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sorts the observation by slot: its current instance, its old instances, and its volumes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ..._providers.contract import DOWN, Volume
from ..._providers.root_state import FAILED, REQUESTED
from ..model import Intent, VolumeSpec
from ..observed import InstanceView, Observed

LOSSES = 1  # instances that a slot may lose in one swap before the image is blamed for it
MOST_DEATHS = 2  # at launch, of instances in one slot, before a swap or its rollback launches no more there
MOST_LAUNCHES = 5  # in one slot by a swap, and by its rollback, whatever happened to the instances


@dataclass(frozen=True)
class Slot:
    number: int
    current: InstanceView | None  # the instance of the desired version, if there is one
    old: tuple[InstanceView, ...]  # all other instances of the slot, the most useful first
    volumes: tuple[Volume, ...]  # existing volumes that the intent asks for
    missing: tuple[str, ...]  # names of volumes that do not exist yet
    to_modify: tuple[Volume, ...] = ()  # volumes that are too small or of another type
    attempt: int = 0  # of the next launch

    @property
    def fallback(self) -> InstanceView | None:
        """The old instance that serves, or can serve again, until the current one does."""
        return self.old[0] if self.old else None

    @property
    def finished(self) -> bool:
        return bool(self.current and self.current.serving and not self.old)

    @property
    def in_standby(self) -> bool:
        """Whether a user keeps the current instance out of traffic."""
        return bool(self.current and self.current.standby and not self.current.serving)

    def volumes_not_on(self, view: InstanceView) -> tuple[Volume, ...]:
        """The slot's volumes that are not attached to ``view``."""
        return tuple(volume for volume in self.volumes if volume.attached_to != view.id)

    def lacks_volumes(self, view: InstanceView) -> bool:
        """Whether ``view`` cannot become healthy because it does not have its volumes. No deadline runs meanwhile."""
        return not view.healthy and bool(self.missing or self.volumes_not_on(view))


def assign_to_slots(observed: Observed, intent: Intent, now: float) -> tuple[list[Slot], list[InstanceView]]:
    """The slots of the desired version by number, and the surplus: instances of other slots."""
    size = intent.desired.size
    views: dict[int, list[InstanceView]] = defaultdict(list)
    for view in observed.instances:
        views[view.slot].append(view)
    volumes: dict[int, dict[str, Volume]] = defaultdict(dict)
    for volume in observed.volumes:
        volumes[volume.slot][volume.name] = volume
    lost = dict(intent.retries)
    slots = [
        _slot(number, views.get(number, []), volumes.get(number, {}), intent, lost=lost.get(number, 0), now=now)
        for number in range(size)
    ]
    return slots, [view for view in observed.instances if not 0 <= view.slot < size]


def _slot(
    number: int, views: list[InstanceView], volumes: dict[str, Volume], intent: Intent, *, lost: int, now: float
) -> Slot:
    specs = [spec for spec in intent.desired.volumes if spec.name in volumes]
    existing = tuple(volumes[spec.name] for spec in specs)
    missing = tuple(spec.name for spec in intent.desired.volumes if spec.name not in volumes)
    # A rollback never shrinks a volume that has grown.
    changed = () if intent.rolling_back else tuple(volumes[spec.name] for spec in specs if _differs(volumes, spec))
    bare = Slot(number, None, (), existing, missing=missing)
    views = sorted(views, key=_usefulness)
    matching = (view for view in views if matches_target(view, intent) and not _must_replace(view, bare, intent, now))
    current = next(matching, None)
    attempts = [view.attempt + 1 for view in views if view.swap == intent.serial]
    return Slot(
        number,
        current,
        old=tuple(view for view in views if view is not current),
        volumes=existing,
        missing=missing,
        to_modify=changed,
        attempt=max([lost, *attempts]),
    )


def _differs(volumes: dict[str, Volume], spec: VolumeSpec) -> bool:
    volume = volumes[spec.name]
    other_kind = bool(spec.kind and volume.kind != spec.kind)
    return volume.size < spec.size or other_kind or spec.options.missing_in(volume.options)


def launched_by_swap(view: InstanceView, intent: Intent) -> bool:
    """Whether the present swap or its rollback launched the instance."""
    return view.swap >= intent.first


def runs_desired_version(view: InstanceView, intent: Intent) -> bool:
    """Whether the instance has the desired image and launch fingerprint, so a change of settings is a swap too."""
    if intent.rolling_back and intent.origin is None:
        return not launched_by_swap(view, intent)  # whatever ran before
    return view.image == intent.desired.image and view.launch == intent.desired.launch


def matches_target(view: InstanceView, intent: Intent) -> bool:
    if view.stopping or not runs_desired_version(view, intent):
        return False
    return intent.rolling_back or not (view.tainted or _too_old(view, intent))


def _too_old(view: InstanceView, intent: Intent) -> bool:
    """What the swap itself launched never is: the clocks of provider and controller may differ by more than the age."""
    return (
        bool(intent.max_age) and not launched_by_swap(view, intent) and intent.started - view.created > intent.max_age
    )


def failure_reason(view: InstanceView, slot: Slot, intent: Intent, now: float) -> str:
    """Why an instance must be given up, or "". Every wait has a deadline."""
    if view.root.change == REQUESTED:  # the swap begins what an interrupted run recorded
        return ""
    if view.root.change == FAILED:
        return f"its root could not be replaced ({view.root.problem})"
    if not view.live:
        return f"it is not running ({view.stop_reason})" if view.stop_reason else "it is not running"
    if view.refuted:
        return view.problem
    if not view.proven:
        late = now > view.started + intent.boot_deadline
        return f"it did not seal itself within {intent.boot_deadline:g} s of its start" if late else ""
    if not view.healthy:
        # It waits for its volumes; the deadline runs from the last of them.
        waits = (slot.missing and not intent.rolling_back) or slot.volumes_not_on(view)
        late = not waits and now > view.waiting_since + intent.health_deadline
        return f"it was not healthy within {intent.health_deadline:g} s ({view.problem})" if late else ""
    if view.member == DOWN and now > view.checked_since + intent.health_deadline:
        return f"the load balancer's checks did not pass within {intent.health_deadline:g} s"
    return ""


def untouched(view: InstanceView, intent: Intent) -> bool:
    """Whether this is a rollback, and the instance still runs as it did before the swap."""
    return intent.rolling_back and view.live and not launched_by_swap(view, intent) and view.id not in intent.restarted


def is_given_up(view: InstanceView, slot: Slot, intent: Intent, now: float) -> bool:
    """Whether an old instance failed. A rollback gives up what the swap launched as soon as it is unhealthy."""
    undone = intent.rolling_back and launched_by_swap(view, intent) and not view.healthy
    return undone or bool(failure_reason(view, slot, intent, now))


def failed_in_rollback(slot: Slot, intent: Intent, now: float) -> str:
    """Why the instance that a rollback launched in the slot failed, or ""."""
    current = slot.current
    if current is None or not intent.rolling_back or current.swap != intent.serial:
        return ""
    reason = failure_reason(current, slot, intent, now)
    return f"slot {slot.number}: {current.id} was launched for the rollback and failed: {reason}" if reason else ""


def can_relaunch(intent: Intent) -> bool:
    """Whether a rollback can launch new instances of the origin."""
    return intent.origin is not None and not intent.origin_problem


def launch_problem(slot: int, intent: Intent) -> str:
    """Why the swap may launch no further instance in the slot, or "". See the tenth promise."""
    deaths = [death for death in intent.deaths if death.slot == slot]
    if len(deaths) >= MOST_DEATHS:
        ids = " and ".join(death.id for death in deaths)
        return f"slot {slot}: {ids} died at launch: {deaths[-1].reason}"
    if intent.launched(slot) >= MOST_LAUNCHES:
        return f"slot {slot}: no instance is left of the {MOST_LAUNCHES} launches that a swap may make in one slot"
    return ""


def relaunch_problem(slot: Slot, intent: Intent) -> str:
    """Why a rollback cannot launch an instance in the slot, or ""."""
    if not can_relaunch(intent):
        return f"slot {slot.number}: {intent.origin_problem or 'it is not known what ran before'}"
    return launch_problem(slot.number, intent)


def _must_replace(view: InstanceView, slot: Slot, intent: Intent, now: float) -> bool:
    """Whether an instance of the desired version failed for a reason that does not speak against the image."""
    if view.root.change == REQUESTED:
        return False
    if launched_by_swap(view, intent) and view.swap == intent.serial:
        return not view.live and view.attempt < LOSSES
    if not intent.rolling_back:
        return bool(failure_reason(view, slot, intent, now))
    if not view.live:
        return view.id in intent.restarted  # a rollback starts it again once
    return not untouched(view, intent) and bool(failure_reason(view, slot, intent, now))


def _usefulness(view: InstanceView) -> tuple[bool, bool, int, bool, bool, bool, float, str]:
    return (
        not view.serving,
        view.stopping,
        -len(view.volumes),
        not view.healthy,
        not view.proven,
        not view.live,
        view.created,
        view.id,
    )
