# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The promises once more, asked right before each changing call, apart from the plan: a defect in the plan must not reach a fleet."""

from __future__ import annotations

from collections.abc import Iterable

from ..._core.errors import FleetError
from ..._providers.contract import STOPPED
from ..actions import (
    Action,
    Attach,
    Deregister,
    Detach,
    Drain,
    Launch,
    Modify,
    PowerOff,
    Register,
    Remove,
    Start,
    Stop,
    Switch,
)
from ..model import ABSENT, UP, InstanceView, Intent, Observed
from ..planning.batch import lowered_floor
from ..planning.slots import launched_by_swap


class Promises:
    """Follows one batch of actions from what was observed. ``allow`` raises FleetError for an action that breaks a promise."""

    def __init__(self, observed: Observed, intent: Intent) -> None:
        self._intent = intent
        self._floor = lowered_floor(observed, intent)
        self._revoked = observed.revoked
        self._views = {view.id: view for view in observed.instances}
        self._holders = {volume.id: volume.attached_to for volume in observed.volumes}
        self._serving = {view.id for view in observed.instances if view.serving}
        self._successors: dict[int, int] = {}
        for view in observed.instances:
            if view.serving:
                self._successors[view.slot] = self._successors.get(view.slot, 0) + 1
        self._counted = observed.counted(intent.count_draining)

    def allow(self, action: Action) -> None:
        if isinstance(action, Launch):
            self._ceiling(len(action.places))
            self._launch(action)
        elif isinstance(action, Start):
            self._ceiling(len(action.ids))
        elif isinstance(action, Attach):
            self._attach(action)
        elif isinstance(action, Detach):
            self._detach(action)
        elif isinstance(action, Modify):
            for volume in action.volumes:
                if self._holders.get(volume):
                    _refuse(f"{volume} would be changed while {self._holders[volume]} has it")
        elif isinstance(action, Register):
            self._admit(action.ids)
        elif isinstance(action, Switch):
            self._admit(action.on)
            before = len(self._serving)
            self._serving |= {view.id for view in self._known(action.on) if view.passing or view.member == UP}
            self._leave(action.off, min(before, self._floor))  # one for one takes nothing away
        elif isinstance(action, (Drain, Deregister, Stop)):
            self._leave(action.ids)
            if isinstance(action, Stop):
                self._unserved(action.ids, "stopped")
        elif isinstance(action, PowerOff):
            for view in self._known(action.ids):
                if not view.stopping:
                    _refuse(f"{view.id} would be powered off without having been asked to stop")
        elif isinstance(action, Remove):
            self._leave(action.ids)
            self._unserved(action.ids, "removed")
            for view in self._known(action.ids):
                self._succession(view)
                self._counted -= view.counts(self._intent.count_draining)

    def _known(self, ids: Iterable[str]) -> list[InstanceView]:
        return [self._views[each] for each in ids if each in self._views]

    def _ceiling(self, more: int) -> None:
        self._counted += more
        if self._counted > self._intent.ceiling:
            _refuse(f"{self._counted} instances would run, but no more than {self._intent.ceiling} may")

    def _launch(self, action: Launch) -> None:
        if self._intent.aim.image in self._revoked:
            _refuse(f"{self._intent.aim.image} would be launched, but it is revoked")
        for place in action.places:
            for volume in place.volumes:
                if self._holders.get(volume) is not None:
                    _refuse(f"{volume} would get a second writer")

    def _attach(self, action: Attach) -> None:
        for volume in action.volumes:
            if self._holders.get(volume) not in (None, action.instance):
                _refuse(f"{volume} would get a second writer, {action.instance}")
            self._holders[volume] = action.instance

    def _detach(self, action: Detach) -> None:
        for volume in action.volumes:
            holder = self._views.get(self._holders.get(volume) or "")
            if holder and holder.state != STOPPED:
                _refuse(f"{volume} would be taken from {holder.id}, which still runs")
            self._holders[volume] = None

    def _admit(self, ids: Iterable[str]) -> None:
        for view in self._known(ids):
            if not view.ready:
                _refuse(f"{view.id} would be put in service, but it is not proven and healthy: {view.problem}")
            if view.image in self._revoked and view.image in (self._intent.image, self._intent.aim.image):
                _refuse(f"{view.id} would be put in service, but its image is revoked")

    def _leave(self, ids: Iterable[str], floor: int | None = None) -> None:
        left, floor = self._serving.difference(ids), self._floor if floor is None else floor
        if len(left) < len(self._serving) and len(left) < floor:
            _refuse(f"{len(left)} instances would be in service, but {floor} must be")
        self._serving = left

    def _unserved(self, ids: Iterable[str], what: str) -> None:
        for view in self._known(ids):
            if view.serving:
                _refuse(f"{view.id} would be {what} while it is in service")

    def _succession(self, view: InstanceView) -> None:
        """An old instance goes only after its successor serves; what the swap made and takes back may always go."""
        intent = self._intent
        undone = intent.back and launched_by_swap(view, intent)
        if intent.goal == ABSENT or not 0 <= view.slot < intent.aim.size or undone:
            return
        if self._successors.get(view.slot, 0) - view.serving < 1:
            _refuse(f"{view.id} would be removed before its successor is in service")


def _refuse(what: str) -> None:
    raise FleetError(f"refused by the engine's own check, which is a defect worth reporting: {what}")
