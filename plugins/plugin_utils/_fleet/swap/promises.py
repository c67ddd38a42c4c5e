# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the promises again before each changing call, so that a defect in the plan harms no fleet."""

from __future__ import annotations

from collections.abc import Iterable

from ..._providers.contract import STOPPED, UP
from ..actions import (
    Action,
    Attach,
    CreateVolumes,
    Deregister,
    Detach,
    Drain,
    Launch,
    LaunchSlot,
    Modify,
    PowerOff,
    Register,
    Reimage,
    Release,
    Remove,
    RemoveVolumes,
    Start,
    Stop,
    Switch,
    defect,
    unknown_action,
)
from ..model import ABSENT, REIMAGE, Intent
from ..observed import InstanceView, Observed
from ..planning.batch import lowered_floor
from ..planning.slots import launch_problem, launched_by_swap


class Promises:
    """Checks one pass of actions. It starts from the observation and follows the effect of each allowed action."""

    def __init__(self, observed: Observed, intent: Intent) -> None:
        self._observed = observed
        self._intent = intent
        self._floor = lowered_floor(observed, intent)
        self._revoked = observed.revoked
        self._views = {view.id: view for view in observed.instances}
        self._holders = {volume.id: volume.attached_to for volume in observed.volumes}
        self._volume_names = {volume.id: volume.name for volume in observed.volumes}
        self._serving = {view.id for view in observed.instances if view.serving}
        self._successors: dict[int, int] = {}
        for view in observed.instances:
            if view.serving:
                self._successors[view.slot] = self._successors.get(view.slot, 0) + 1
        self._counted = observed.counted(intent.count_draining)
        self._drained: set[str] = set()  # by this pass, which took them off the count

    def allow(self, action: Action) -> None:
        """Raises FleetError for an action that breaks a promise, and for an unknown one."""
        match action:
            case CreateVolumes():
                pass  # it removes and replaces nothing
            case Launch():
                self._check_ceiling(len(action.slots))
                self._launch(action)
            case Reimage():
                self._reimage(action)
            case Start():
                self._check_ceiling(len(action.ids))
            case Attach():
                self._attach(action)
            case Detach():
                self._detach(action)
            case Modify():
                self._check_free(action.volumes, "changed")
            case RemoveVolumes():
                self._remove_volumes(action)
            case Register():
                self._admit(action.ids)
            case Switch():
                self._switch(action)
            case Drain():
                self._check_floor(action.ids)
                if not self._intent.count_draining:
                    self._counted -= sum(view.counts(draining=False) for view in self._known(action.ids))
                    self._drained.update(action.ids)
            case Deregister():
                self._check_floor(action.ids)
            case Stop():
                self._check_floor(action.ids)
                self._refuse_serving(action.ids, "stopped")
            case PowerOff():
                self._power_off(action)
            case Remove():
                self._remove(action)
            case Release():
                self._release(action)
            case _:
                raise unknown_action(action)

    def _known(self, ids: Iterable[str]) -> list[InstanceView]:
        return [self._views[each] for each in ids if each in self._views]

    def _check_ceiling(self, more: int) -> None:
        self._counted += more
        if self._counted > self._intent.ceiling:
            raise defect(f"{self._counted} instances would run, but no more than {self._intent.ceiling} may")

    def _launch(self, action: Launch) -> None:
        if self._intent.desired.image in self._revoked:
            raise defect(f"{self._intent.desired.image} would be launched, but it is revoked")
        for place in action.slots:
            problem = launch_problem(place.slot, self._intent)
            if problem:
                raise defect(f"another instance would be launched, but {problem}")
            for volume in place.volumes:
                if self._holders.get(volume) is not None:
                    raise defect(f"{volume} would get a second writer")

    def _reimage(self, action: Reimage) -> None:
        """The exception of the fifth promise: the old root is kept, and its instance is out of service meanwhile."""
        if self._intent.strategy != REIMAGE:
            raise defect(f"instances would be reimaged by the strategy {self._intent.strategy}")
        self._launch(Launch(tuple(LaunchSlot(each.slot) for each in action.slots)))
        self._floor = max(
            self._floor, lowered_floor(self._observed, self._intent, {each.slot for each in action.slots})
        )
        views = self._known([each.id for each in action.slots])
        starting = sum(not view.live for view in views)
        if starting:
            self._check_ceiling(starting)
        self._check_floor([view.id for view in views])
        self._refuse_serving([view.id for view in views], "reimaged")

    def _release(self, action: Release) -> None:
        for view in self._known(action.ids):
            if not view.serving:
                raise defect(f"the previous root of {view.id} would be deleted before the new one is in service")

    def _attach(self, action: Attach) -> None:
        for volume in action.volumes:
            if self._holders.get(volume) not in (None, action.instance):
                raise defect(f"{volume} would get a second writer, {action.instance}")
            self._holders[volume] = action.instance

    def _detach(self, action: Detach) -> None:
        for volume in action.volumes:
            holder = self._views.get(self._holders.get(volume) or "")
            if holder and holder.state != STOPPED:
                raise defect(f"{volume} would be taken from {holder.id}, which still runs")
            self._holders[volume] = None

    def _check_free(self, volumes: Iterable[str], what: str) -> None:
        for volume in volumes:
            if self._holders.get(volume):
                raise defect(f"{volume} would be {what} while {self._holders[volume]} has it")

    def _remove_volumes(self, action: RemoveVolumes) -> None:
        """Data is removed only on request: the user made the fleet absent and named the volume."""
        for volume in action.volumes:
            name = self._volume_names.get(volume)
            if name is None:
                raise defect(f"{volume} would be removed, but no such volume was observed")
            if self._intent.goal != ABSENT:
                raise defect(f"{volume} would be removed, but the fleet is not to become absent")
            if name not in self._intent.remove_volumes:
                raise defect(f"{volume} would be removed, but {name} is not named in remove_volumes")
        self._check_free(action.volumes, "removed")

    def _admit(self, ids: Iterable[str]) -> None:
        for view in self._known(ids):
            if not view.ready:
                raise defect(f"{view.id} would be put in service, but it is not proven and healthy: {view.problem}")
            if view.image in self._revoked and view.image in (self._intent.image, self._intent.desired.image):
                raise defect(f"{view.id} would be put in service, but its image is revoked")

    def _switch(self, action: Switch) -> None:
        self._admit(action.on)
        before = len(self._serving)
        self._serving |= {view.id for view in self._known(action.on) if view.passing or view.member == UP}
        self._check_floor(action.off, min(before, self._floor))  # an exchange one for one takes nothing out of service

    def _power_off(self, action: PowerOff) -> None:
        for view in self._known(action.ids):
            if not view.stopping:
                raise defect(f"{view.id} would be powered off without having been asked to stop")

    def _remove(self, action: Remove) -> None:
        self._check_floor(action.ids)
        self._refuse_serving(action.ids, "removed")
        for view in self._known(action.ids):
            self._check_successor(view)
            self._counted -= view.counts(self._intent.count_draining) and view.id not in self._drained

    def _check_floor(self, ids: Iterable[str], floor: int | None = None) -> None:
        left, floor = self._serving.difference(ids), self._floor if floor is None else floor
        if len(left) < len(self._serving) and len(left) < floor:
            raise defect(f"{len(left)} instances would be in service, but {floor} must be")
        self._serving = left

    def _refuse_serving(self, ids: Iterable[str], what: str) -> None:
        for view in self._known(ids):
            if view.serving:
                raise defect(f"{view.id} would be {what} while it is in service")

    def _check_successor(self, view: InstanceView) -> None:
        """Refuse to remove an old instance before its successor serves.

        A rollback may always remove what the swap launched.
        """
        intent = self._intent
        undone = intent.rolling_back and launched_by_swap(view, intent)
        begun = view.awaits_removal  # it has had a successor, and it is down
        if intent.goal == ABSENT or not 0 <= view.slot < intent.desired.size or undone or begun:
            return
        if self._successors.get(view.slot, 0) - view.serving < 1:
            raise defect(f"{view.id} would be removed before its successor is in service")
