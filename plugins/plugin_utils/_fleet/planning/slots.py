# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sort what was observed by slots: who is current, who is old, which volumes belong there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ..._providers.contract import DOWN, Volume
from ..model import InstanceView, Intent, Observed

LOSSES = 1  # instances of one swap that a slot may lose to a sudden death before the image is blamed for it


@dataclass(frozen=True)
class Slot:
    number: int
    current: InstanceView | None  # what the intent aims at, if it is there
    old: tuple[InstanceView, ...]  # everything else in the slot, the most useful first
    volumes: tuple[Volume, ...]  # those the intent asks for that exist
    missing: tuple[str, ...]  # names of those that do not
    unfit: tuple[Volume, ...] = ()  # those that are too small or of another type
    attempt: int = 0  # of the next launch

    @property
    def keeper(self) -> InstanceView | None:
        """The old instance that serves, or could serve again, until the current one does."""
        return self.old[0] if self.old else None

    @property
    def finished(self) -> bool:
        return bool(self.current and self.current.serving and not self.old)

    @property
    def resting(self) -> bool:
        """It has what the intent aims at, and people keep that out of traffic."""
        return bool(self.current and self.current.standby and not self.current.serving)

    def away(self, view: InstanceView) -> tuple[Volume, ...]:
        """The slot's volumes that ``view`` does not have."""
        return tuple(volume for volume in self.volumes if volume.attached_to != view.id)


def arrange(observed: Observed, intent: Intent, now: float) -> tuple[list[Slot], list[InstanceView]]:
    """The slots that the intent aims at, by number, and the instances of other slots."""
    size = intent.aim.size
    views: dict[int, list[InstanceView]] = defaultdict(list)
    for view in observed.instances:
        views[view.slot].append(view)
    volumes: dict[int, dict[str, Volume]] = defaultdict(dict)
    for volume in observed.volumes:
        volumes[volume.slot][volume.name] = volume
    lost = dict(intent.retries)
    slots = [
        _slot(number, views.get(number, []), volumes.get(number, {}), lost.get(number, 0), intent, now)
        for number in range(size)
    ]
    return slots, [view for view in observed.instances if not 0 <= view.slot < size]


def _slot(
    number: int, views: list[InstanceView], volumes: dict[str, Volume], lost: int, intent: Intent, now: float
) -> Slot:
    specs = intent.aim.volumes
    here = tuple(volumes[spec.name] for spec in specs if spec.name in volumes)
    missing = tuple(spec.name for spec in specs if spec.name not in volumes)
    # A rollback never shrinks what grew.
    unfit = (
        ()
        if intent.back
        else tuple(
            volumes[spec.name]
            for spec in specs
            if spec.name in volumes and _unfit(volumes[spec.name], spec.size, spec.kind)
        )
    )
    bare = Slot(number, None, (), here, missing)
    views = sorted(views, key=_usefulness)
    current = next(
        (view for view in views if matches_target(view, intent) and not _must_replace(view, bare, intent, now)), None
    )
    old = tuple(view for view in views if view is not current)
    attempt = max([lost, *(view.attempt + 1 for view in views if view.swap == intent.serial)])
    return Slot(number, current, old, here, missing, unfit, attempt)


def _unfit(volume: Volume, size: int, kind: str) -> bool:
    return volume.size < size or bool(kind and volume.kind != kind)


def launched_by_swap(view: InstanceView, intent: Intent) -> bool:
    """Whether the present swap (its rollback too) launched it."""
    return view.swap >= intent.first


def of_version(view: InstanceView, intent: Intent) -> bool:
    """Whether it is what the intent aims at. The launch fingerprint is compared too, so a change of settings is a swap."""
    if intent.back and intent.origin is None:
        return not launched_by_swap(view, intent)  # whatever was there before
    return view.image == intent.aim.image and view.launch == intent.aim.launch


def matches_target(view: InstanceView, intent: Intent) -> bool:
    if view.stopping or not of_version(view, intent):
        return False
    return intent.back or not (view.tainted or _too_old(view, intent))


def _too_old(view: InstanceView, intent: Intent) -> bool:
    return bool(intent.max_age) and intent.started - view.created > intent.max_age


def failure(view: InstanceView, slot: Slot, intent: Intent, now: float) -> str:
    """Why an instance must be given up, or an empty string. Waiting ends at a deadline, always."""
    if not view.live:
        return "it is not running"
    if view.refuted:
        return view.problem
    if not view.proven:
        late = now > view.started + intent.boot_deadline
        return f"it did not seal itself within {intent.boot_deadline:g} s of its start" if late else ""
    if not view.healthy:
        waits = (slot.missing and not intent.back) or slot.away(
            view
        )  # for its volumes; a deadline runs from the last of them
        late = not waits and now > view.waiting_since + intent.health_deadline
        return f"it was not healthy within {intent.health_deadline:g} s ({view.problem})" if late else ""
    if view.member == DOWN and now > max(view.member_since, view.waiting_since) + intent.health_deadline:
        return f"the load balancer's checks did not pass within {intent.health_deadline:g} s"
    return ""


def untouched(view: InstanceView, intent: Intent) -> bool:
    """In a rollback: it is from before the swap, and still runs as it did then."""
    return intent.back and view.live and not launched_by_swap(view, intent) and view.id not in intent.restarted


def _must_replace(view: InstanceView, slot: Slot, intent: Intent, now: float) -> bool:
    """A fitting instance that failed and is no witness against the image: it is replaced."""
    if launched_by_swap(view, intent) and view.swap == intent.serial:
        return not view.live and view.attempt < LOSSES
    if not intent.back:
        return bool(failure(view, slot, intent, now))
    if not view.live:
        return view.id in intent.restarted  # once more, but not for ever
    return not untouched(view, intent) and bool(failure(view, slot, intent, now))


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
