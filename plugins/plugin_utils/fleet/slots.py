# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sort what was observed by slots: who is current, who is old, which volumes belong there."""
from __future__ import annotations

from dataclasses import dataclass

from ..providers.base import Volume
from .model import DOWN, InstanceView, Intent, Observed


@dataclass(frozen=True)
class Slot:
    number: int
    current: InstanceView | None  # what the intent asks for, if it is there
    old: tuple[InstanceView, ...]  # everything else in the slot, the most useful first
    volumes: tuple[Volume, ...]  # those the intent asks for that exist
    missing: tuple[str, ...]  # names of those that do not

    @property
    def keeper(self) -> InstanceView | None:
        """The old instance that serves, or could serve again, until the current one does."""
        return self.old[0] if self.old else None

    def away(self, view: InstanceView) -> tuple[Volume, ...]:
        """The slot's volumes that ``view`` does not have."""
        return tuple(volume for volume in self.volumes if volume.attached_to != view.id)

    def complete(self, view: InstanceView) -> bool:
        return not self.missing and not self.away(view)


def arrange(observed: Observed, intent: Intent, now: float) -> tuple[list[Slot], list[InstanceView]]:
    """The intent's slots by number, and the instances of slots that the intent does not have."""
    slots = []
    for number in range(intent.size):
        volumes = {volume.name: volume for volume in observed.volumes if volume.slot == number}
        wanted = [spec.name for spec in intent.volumes]
        here = tuple(volumes[name] for name in wanted if name in volumes)
        missing = tuple(name for name in wanted if name not in volumes)
        bare = Slot(number, None, (), here, missing)
        views = sorted((view for view in observed.instances if view.slot == number), key=_usefulness)
        fitting = [view for view in views if is_current(view, intent) and not _broke_before(view, bare, intent, now)]
        current = fitting[0] if fitting else None
        slots.append(Slot(number, current, tuple(view for view in views if view is not current), here, missing))
    return slots, [view for view in observed.instances if not 0 <= view.slot < intent.size]


def is_current(view: InstanceView, intent: Intent) -> bool:
    """The launch fingerprint is compared too, so a change of settings is a swap."""
    return view.image == intent.image and view.launch == intent.launch


def failure(view: InstanceView, slot: Slot, intent: Intent, now: float) -> str:
    """Why an instance must be given up, or an empty string. Waiting ends at a deadline, always."""
    if not view.running:
        return "it is not running"
    if view.refuted:
        return view.problem
    if not view.proven:
        late = now > view.started + intent.boot_deadline
        return f"it did not seal itself within {intent.boot_deadline:g} s of its start" if late else ""
    if not view.healthy:
        late = slot.complete(view) and now > view.waiting_since + intent.health_deadline
        return f"it was not healthy within {intent.health_deadline:g} s ({view.problem})" if late else ""
    if view.member == DOWN and now > max(view.member_since, view.waiting_since) + intent.health_deadline:
        return f"the load balancer's checks did not pass within {intent.health_deadline:g} s"
    return ""


def _broke_before(view: InstanceView, slot: Slot, intent: Intent, now: float) -> bool:
    """A fitting instance that failed and is not of this swap's making is replaced; one of its making ends the swap."""
    return view.created < intent.started and bool(failure(view, slot, intent, now))


def _usefulness(view: InstanceView) -> tuple[bool, int, bool, bool, bool, float, str]:
    return (not view.serving, -len(view.volumes), not view.healthy, not view.proven, not view.running, view.created, view.id)
