# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The promises once more, asked right before each changing call, apart from the plan: a defect in the plan must not reach a fleet."""
from __future__ import annotations

from ..errors import FleetError
from .model import ABSENT, ROLLBACK, UP, InstanceView, Intent, Observed
from .outcome import Action, Attach, Deregister, Detach, Drain, Launch, Register, Remove, Stop
from .slots import is_current


class Promises:
    """Follows one batch of actions from what was observed. ``allow`` raises FleetError for an action that breaks a promise."""

    def __init__(self, observed: Observed, intent: Intent) -> None:
        self._intent = intent
        self._views = {view.id: view for view in observed.instances}
        self._holders = {volume.id: volume.attached_to for volume in observed.volumes}
        self._serving = {view.id for view in observed.instances if view.serving}
        self._counted = observed.counted

    def allow(self, action: Action) -> None:
        if isinstance(action, Launch):
            self._ceiling(action)
        elif isinstance(action, Attach):
            for volume in action.volumes:
                if self._holders.get(volume) not in (None, action.instance):
                    _refuse(f"{volume} would get a second writer, {action.instance}")
                self._holders[volume] = action.instance
        elif isinstance(action, Detach):
            for volume in action.volumes:
                holder = self._views.get(self._holders.get(volume) or "")
                if holder and holder.running:
                    _refuse(f"{volume} would be taken from {holder.id}, which still runs")
                self._holders[volume] = None
        elif isinstance(action, Register):
            for view in self._known(action.ids):
                if not (view.proven and view.healthy):
                    _refuse(f"{view.id} would be put in service, but it is not proven and healthy: {view.problem}")
        elif isinstance(action, (Drain, Deregister, Stop)):
            self._floor(action)
        elif isinstance(action, Remove):
            for view in self._known(action.ids):
                self._succession(view)

    def _known(self, ids: tuple[str, ...]) -> list[InstanceView]:
        return [self._views[each] for each in ids if each in self._views]

    def _ceiling(self, action: Launch) -> None:
        self._counted += len(action.slots)
        if self._counted > self._intent.ceiling:
            _refuse(f"{self._counted} instances would run, but no more than {self._intent.ceiling} may")
        for _slot, volumes in action.slots:
            taken = [volume for volume in volumes if self._holders.get(volume) is not None]
            if taken:
                _refuse(f"{taken[0]} would get a second writer")

    def _floor(self, action: Drain | Deregister | Stop) -> None:
        left = self._serving - set(action.ids)
        floor = 0 if self._intent.goal == ABSENT else self._intent.floor
        if left != self._serving and len(left) < floor:
            _refuse(f"{len(left)} instances would be in service, but {floor} must be")
        self._serving = left
        if isinstance(action, Stop):
            for view in self._known(action.ids):
                if view.member == UP and view.serving:
                    _refuse(f"{view.id} would be stopped while it is in service")

    def _succession(self, view: InstanceView) -> None:
        """An old instance goes only after its successor serves; a failed new one may always go."""
        intent = self._intent
        if view.running:
            _refuse(f"{view.id} would be removed while it runs")
        undone = intent.stage == ROLLBACK and is_current(view, intent)
        if intent.goal == ABSENT or view.slot >= intent.size or view.slot < 0 or undone:
            return
        if not any(other.slot == view.slot and other.serving for other in self._views.values() if other is not view):
            _refuse(f"{view.id} would be removed before its successor is in service")


def _refuse(what: str) -> None:
    raise FleetError(f"refused by the engine's own check, which is a defect worth reporting: {what}")
