# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collects the actions that are safe to do in one pass, in bulk, within the floor and the ceiling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from ..._definition.model import Metric
from ..._providers.contract import DRAIN, UP, Volume
from ..actions import (
    Act,
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
    ReimageSlot,
    Release,
    Remove,
    RemoveVolumes,
    Start,
    Stop,
    Switch,
    Wait,
)
from ..model import ABSENT, Intent, VolumeSpec
from ..observed import InstanceView, Observed
from .slots import launched_by_swap

REMOVAL_WAIT = 60.0  # seconds for which a drained instance may wait to be removed by one call with others


class ActionBatch:
    """The actions of one pass. A method that could break the floor or the ceiling returns whether it was allowed."""

    def __init__(self, observed: Observed, intent: Intent, now: float) -> None:
        self.floor = lowered_floor(observed, intent)
        self._observed = observed
        self._intent = intent
        self._now = now
        self._serving = {view.id for view in observed.instances if view.serving}
        self._revoked = observed.revoked
        self._serving_in_slot = Counter(view.slot for view in observed.instances if view.serving)
        self._counted = observed.counted(intent.count_draining)
        self._create: list[tuple[int, str]] = []
        self._modify: list[Modify] = []
        self._launches: list[LaunchSlot] = []
        self._reimages: list[ReimageSlot] = []
        self._release: list[str] = []
        self._attach: list[Attach] = []
        self._detach: list[str] = []
        self._remove_volumes: list[str] = []
        self._start: list[str] = []
        self._register: list[str] = []
        self._stage: list[str] = []
        self._switch: list[Switch] = []
        self._drain: list[str] = []
        self._deregister: list[str] = []
        self._stop: list[str] = []
        self._power_off: list[str] = []
        self._remove: list[str] = []
        self._waits: list[Wait] = []
        self._may_wait = observed.calls_count and not intent.count_draining and not intent.rolling_back
        # Drained instances that may wait until others can be removed by the same call, and until when.
        self._removable: dict[str, tuple[InstanceView, float]] = {}
        self._unfilled = 0  # slots that nothing serves and whose launch the ceiling does not allow

    def create_volumes(self, slot: int, names: Iterable[str]) -> None:
        self._create += [(slot, name) for name in names]

    def modify(self, volumes: Iterable[Volume], specs: Iterable[VolumeSpec]) -> None:
        wanted = {spec.name: spec for spec in specs}
        for volume in volumes:
            spec = wanted[volume.name]
            self._modify.append(Modify((volume.id,), max(volume.size, spec.size), spec.kind, spec.options))

    def reserve(self) -> None:
        """Keep a place under the ceiling for an instance that cannot be launched yet."""
        self._counted += 1

    def has_room(self) -> bool:
        return self._counted < self._intent.ceiling

    def launch(self, slot: int, volumes: Iterable[str], attempt: int) -> bool:
        if not self.has_room():
            self._unfilled += not self._serving_in_slot[slot]
            return False
        self._counted += 1
        self._launches.append(LaunchSlot(slot, tuple(volumes), attempt))
        return True

    def start(self, view: InstanceView) -> bool:
        if not self.has_room():
            return False
        self._counted += 1
        self._start.append(view.id)
        return True

    def reimage(self, view: InstanceView, attempt: int) -> bool:
        """The root of an instance that is out of traffic. A stopped one needs a place under the ceiling."""
        slots = {view.slot, *(each.slot for each in self._reimages)}
        floor = lowered_floor(self._observed, self._intent, slots)
        if floor > max(self.floor, len(self._serving)):
            self.wait(f"slot {view.slot}: {view.id} stays in standby: {floor} instances must be in service")
            return True
        self.floor = max(self.floor, floor)
        if not view.live:
            if not self.has_room():
                return False
            self._counted += 1
        self._reimages.append(ReimageSlot(view.slot, view.id, attempt))
        return True

    def release(self, view: InstanceView) -> None:
        self._release.append(view.id)

    def attach(self, volumes: Iterable[str], view: InstanceView) -> None:
        self._attach.append(Attach(tuple(volumes), view.id))

    def detach(self, volumes: Iterable[str]) -> None:
        self._detach += volumes

    def remove_volumes(self, volumes: Iterable[str]) -> None:
        self._remove_volumes += volumes

    def may_serve(self, view: InstanceView) -> bool:
        """Whether it may be put in service: an image that was revoked during the swap may not."""
        return not (view.image in self._revoked and view.image == self._intent.image)

    def register(self, view: InstanceView) -> None:
        if self.may_serve(view):
            self._register.append(view.id)

    def register_staged(self, views: Iterable[InstanceView]) -> None:
        self._stage += [view.id for view in views]

    def switch(self, on: Iterable[InstanceView], off: Iterable[InstanceView]) -> None:
        self._switch.append(Switch(tuple(view.id for view in on), tuple(view.id for view in off)))

    def deregister(self, instance_id: str) -> None:
        self._deregister.append(instance_id)

    def below_floor(self) -> bool:
        return len(self._serving) < self.floor

    def wait(self, reason: str, until: float | None = None, idle: bool = False, metric: Metric | None = None) -> None:
        self._waits.append(Wait(reason, until, idle, metric))

    def wait_for_room(self, slot: int) -> None:
        self.wait(f"slot {slot}: no more than {self._intent.ceiling} instances at a time")

    def wait_for_boot(self, view: InstanceView) -> None:
        self.wait(f"slot {view.slot}: {view.id} boots and seals itself", view.started + self._intent.boot_deadline)

    def wait_for_health(self, view: InstanceView) -> None:
        until = view.waiting_since + self._intent.health_deadline
        self.wait(f"slot {view.slot}: {view.id} is not healthy yet ({view.problem})", until)

    def wait_for_checks(self, view: InstanceView) -> None:
        until = view.checked_since + self._intent.health_deadline
        self.wait(f"slot {view.slot}: the load balancer checks {view.id}", until)

    def take_out_of_traffic(self, view: InstanceView, given_up: bool = False) -> bool:
        """Plan the next step out of traffic. Returns True once it has no request left and is deregistered.

        ``given_up``: it serves no request, whatever the load balancer says, so it does not count for the floor and
        needs no draining.
        """
        if view.member is None:
            return True
        if view.member == UP and not given_up:
            if self._may_leave(view):
                if not self._intent.count_draining and view.id not in self._drain:
                    self._counted -= view.live  # its place is free for a launch in the same pass
                self._drain.append(view.id)
            else:
                floor, serving = self.floor, len(self._serving)
                self.wait(f"slot {view.slot}: {view.id} stays in service: {floor} instances must, and {serving} do")
            return False
        if view.member == DRAIN and not given_up and view.live and self._still_busy(view):
            count = "an unknown number of" if view.in_flight is None else view.in_flight
            self.wait(
                f"slot {view.slot}: {view.id} drains, {count} request{'' if count == 1 else 's'} in flight",
                view.member_since + self._intent.drain_timeout,
            )
            return False
        self._serving.discard(view.id)
        self._deregister.append(view.id)
        return True

    def stop(self, view: InstanceView, given_up: bool = False) -> bool:
        """Plan the next step out of traffic, then to a stop. Returns True once it is stopped."""
        if view.stopping:
            self._await_stop(view)
            return False
        if not self.take_out_of_traffic(view, given_up):
            return False
        if view.live:
            self._stop.append(view.id)
            return False
        return True

    def remove(self, view: InstanceView, given_up: bool = False) -> None:
        """Plan the next step out of traffic, then to its removal.

        It is stopped instead while no other instance serves the slot. Several slots may ask for a removal: it frees
        one place.
        """
        if view.id in self._remove:
            return
        if view.stopping:
            self._await_stop(view)
        elif not self._may_be_removed(view):
            self.stop(view, given_up)
        elif self._may_wait and not given_up and (until := self._removal_due(view)) > self._now:
            self._removable[view.id] = (view, until)
        elif self.take_out_of_traffic(view, given_up):
            self._remove.append(view.id)
            # Its place is free for a launch in the same pass.
            self._counted -= view.counts(self._intent.count_draining)

    def yields_place(self, view: InstanceView, holders: Iterable[InstanceView]) -> bool:
        """Remove an instance whose volumes the floor keeps elsewhere, if a slot without service needs its place.

        Else both would wait for each other: this one until another slot serves, and that slot until there is room.
        """
        if not self._unfilled or not any(each.member == UP and not self._can_leave(each) for each in holders):
            return False
        self._unfilled -= 1
        self.remove(view, given_up=True)
        return True

    def _may_be_removed(self, view: InstanceView) -> bool:
        """Whether its slot no longer exists, the rollback undoes it, or another instance serves the slot."""
        intent = self._intent
        if (
            intent.goal == ABSENT
            or not 0 <= view.slot < intent.desired.size
            or (intent.rolling_back and launched_by_swap(view, intent))
        ):
            return True
        return self._serving_in_slot[view.slot] - view.serving > 0

    def _await_stop(self, view: InstanceView) -> None:
        if view.member is not None:
            self._deregister.append(view.id)
        if view.awaits_removal:
            self._remove.append(view.id)
        elif self._now > view.stopping_since + self._intent.stop_timeout:
            self._power_off.append(view.id)
        else:
            self.wait(f"slot {view.slot}: {view.id} shuts down", view.stopping_since + self._intent.stop_timeout)

    def outcome(self) -> Act | Wait | None:
        """The actions of this pass, else the wait that ends first, else None."""
        self._remove_together()
        actions = self._actions()
        if actions:
            return Act(tuple(actions))
        return min(self._waits, key=lambda wait: (wait.idle, wait.until or float("inf"))) if self._waits else None

    def _actions(self) -> list[Action]:
        actions: list[Action] = []
        if self._create:
            actions.append(CreateVolumes(tuple(self._create)))
        actions += _merged(self._modify)
        # What frees places under the ceiling comes before launches.
        if self._detach:
            actions.append(Detach(tuple(self._detach)))
        actions += _grouped((Deregister, self._deregister), (Remove, self._remove))
        if not self._intent.count_draining:
            actions += _grouped((Drain, self._drain))
        if self._launches:
            actions.append(Launch(tuple(self._launches)))
        if self._reimages:
            actions.append(Reimage(tuple(self._reimages)))
        actions += self._attach
        if self._start:
            actions.append(Start(tuple(self._start)))
        if self._stage:
            actions.append(Register(tuple(self._stage), staged=True))
        leaving = {*self._deregister, *self._drain, *self._stop, *self._remove}
        self._register = [each for each in self._register if each not in leaving]
        if self._register:
            actions.append(Register(tuple(self._register)))
        actions += self._switch
        if self._intent.count_draining:
            actions += _grouped((Drain, self._drain))
        actions += _grouped((Stop, self._stop), (PowerOff, self._power_off))
        actions += _grouped((Release, self._release))
        if self._remove_volumes:
            actions.append(RemoveVolumes(tuple(self._remove_volumes)))
        return actions

    def _removal_due(self, view: InstanceView) -> float:
        """Until when the removal of a drained instance may wait; 0 if it did not drain to its end."""
        drained = view.drained_since
        if view.member == DRAIN and not (view.live and self._still_busy(view)):
            drained = view.member_since + self._intent.drain_timeout
        return drained + REMOVAL_WAIT if drained and view.live else 0.0

    def _remove_together(self) -> None:
        """Remove all drained instances by one call once one of them is due, or once nothing else is in progress."""
        goes_on = bool(self._actions()) or any(wait.until is not None and not wait.idle for wait in self._waits)
        if goes_on and not self._remove:
            for view, until in self._removable.values():
                self.wait(f"slot {view.slot}: {view.id} is removed by one call with others", until)
            return
        self._deregister += [view.id for view, _until in self._removable.values() if view.member is not None]
        self._remove += self._removable

    def _may_leave(self, view: InstanceView) -> bool:
        """Whether the others alone keep the floor. One failed probe does not make an instance free to take."""
        if not self._can_leave(view):
            return False
        self._serving.discard(view.id)
        return True

    def _can_leave(self, view: InstanceView) -> bool:
        return len(self._serving) - (view.id in self._serving) >= self.floor

    def _still_busy(self, view: InstanceView) -> bool:
        return view.in_flight != 0 and self._now < view.member_since + self._intent.drain_timeout


def lowered_floor(observed: Observed, intent: Intent, reimaged: Collection[int] = ()) -> int:
    """The floor without instances in standby. They are out of service on purpose, so others need not replace them.

    Args:
        reimaged: slots whose instances lose this mark.
    """
    in_standby = {view.slot for view in observed.instances if view.standby and view.live} - {
        view.slot for view in observed.instances if view.serving
    }
    return max(0, intent.floor - len(in_standby.difference(reimaged)))


def _grouped(*kinds: tuple[type[Deregister | Drain | Stop | PowerOff | Remove | Release], list[str]]) -> list[Action]:
    """One action for all instances that need the same."""
    return [kind(tuple(dict.fromkeys(ids))) for kind, ids in kinds if ids]


def _merged(changes: Iterable[Modify]) -> list[Modify]:
    """One call for all volumes that get the same size, type and options."""
    same: dict[Modify, list[str]] = {}
    for change in changes:
        same.setdefault(replace(change, volumes=()), []).extend(change.volumes)
    return [replace(change, volumes=tuple(ids)) for change, ids in same.items()]
