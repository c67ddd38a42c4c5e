# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect what is safe to do in one go, in bulk, with the floor and the ceiling kept in mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

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
    Remove,
    RemoveVolumes,
    Start,
    Stop,
    Switch,
    Wait,
)
from ..model import ABSENT, InstanceView, Intent, Observed, VolumeSpec
from .slots import launched_by_swap


class ActionBatch:
    """Every method notes one step; those that could break the floor or the ceiling say whether it was allowed."""

    def __init__(self, observed: Observed, intent: Intent, now: float) -> None:
        self.floor = lowered_floor(observed, intent)
        self._intent = intent
        self._now = now
        self._serving = {view.id for view in observed.instances if view.serving}
        self._revoked = observed.revoked
        self._served = Counter(view.slot for view in observed.instances if view.serving)
        self._counted = observed.counted(intent.count_draining)
        self._volumes: list[tuple[int, str]] = []
        self._modify: list[Modify] = []
        self._launches: list[LaunchSlot] = []
        self._attach: list[Attach] = []
        self._detach: list[str] = []
        self._unwanted: list[str] = []
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

    def create_volumes(self, slot: int, names: Iterable[str]) -> None:
        self._volumes += [(slot, name) for name in names]

    def modify(self, volumes: Iterable[Volume], specs: Iterable[VolumeSpec]) -> None:
        wanted = {spec.name: spec for spec in specs}
        for volume in volumes:
            spec = wanted[volume.name]
            self._modify.append(Modify((volume.id,), max(volume.size, spec.size), spec.kind))

    def reserve(self) -> None:
        """Keep a place under the ceiling for one that cannot be launched yet."""
        self._counted += 1

    def room(self) -> bool:
        return self._counted < self._intent.ceiling

    def launch(self, slot: int, volumes: Iterable[str], attempt: int) -> bool:
        if not self.room():
            return False
        self._counted += 1
        self._launches.append(LaunchSlot(slot, tuple(volumes), attempt))
        return True

    def start(self, view: InstanceView) -> bool:
        if not self.room():
            return False
        self._counted += 1
        self._start.append(view.id)
        return True

    def attach(self, volumes: Iterable[str], view: InstanceView) -> None:
        self._attach.append(Attach(tuple(volumes), view.id))

    def detach(self, volumes: Iterable[str]) -> None:
        self._detach += volumes

    def remove_volumes(self, volumes: Iterable[str]) -> None:
        self._unwanted += volumes

    def register(self, view: InstanceView) -> None:
        if view.image in self._revoked and view.image == self._intent.image:
            return  # as after a revocation amid the swap, where it was there before
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

    def take_out(self, view: InstanceView, given_up: bool = False) -> bool:
        """One step on the way out of traffic. True once no request is left with it, and the balancer is told to forget it.

        ``given_up``: it serves nobody, whatever the balancer says, so it neither counts for the floor nor needs draining.
        """
        if view.member is None:
            return True
        if view.member == UP and not given_up:
            if self._may_leave(view):
                self._drain.append(view.id)
            else:
                self.wait(
                    f"slot {view.slot}: {view.id} stays in service, since {self.floor} must be and {len(self._serving)} are"
                )
            return False
        if view.member == DRAIN and not given_up and view.live and self._still_busy(view):
            flight = "an unknown number of" if view.in_flight is None else view.in_flight
            self.wait(
                f"slot {view.slot}: {view.id} drains, {flight} requests in flight",
                view.member_since + self._intent.drain_timeout,
            )
            return False
        self._serving.discard(view.id)
        self._deregister.append(view.id)
        return True

    def take_down(self, view: InstanceView, given_up: bool = False) -> bool:
        """Out of traffic, then stopped, one step at a time. True once it is."""
        if view.stopping:
            self._watch_stop(view)
            return False
        if not self.take_out(view, given_up):
            return False
        if view.live:
            self._stop.append(view.id)
            return False
        return True

    def take_away(self, view: InstanceView, given_up: bool = False) -> None:
        """Out of traffic, then removed; only stopped as long as nobody else serves the slot."""
        if view.stopping:
            self._watch_stop(view)
        elif not self._may_go(view):
            self.take_down(view, given_up)
        elif self.take_out(view, given_up):
            self._remove.append(view.id)
            self._counted -= view.counts(
                self._intent.count_draining
            )  # who comes in its place need not wait for another look

    def _may_go(self, view: InstanceView) -> bool:
        """For good: its slot is no more, it is undone by a rollback, or another one serves there."""
        intent = self._intent
        if (
            intent.goal == ABSENT
            or not 0 <= view.slot < intent.aim.size
            or (intent.back and launched_by_swap(view, intent))
        ):
            return True
        return self._served[view.slot] - view.serving > 0

    def _watch_stop(self, view: InstanceView) -> None:
        if view.member is not None:
            self._deregister.append(view.id)
        if self._now > view.stopping_since + self._intent.stop_timeout:
            self._power_off.append(view.id)
        else:
            self.wait(f"slot {view.slot}: {view.id} shuts down", view.stopping_since + self._intent.stop_timeout)

    def outcome(self) -> Act | Wait | None:
        """What is to be done now, or what is waited for, or None where neither is."""
        actions: list[Action] = []
        if self._volumes:
            actions.append(CreateVolumes(tuple(self._volumes)))
        actions += _merged(self._modify)
        # Who leaves goes before who comes: what is given up or done with must not take a place any longer than it has to.
        if self._detach:
            actions.append(Detach(tuple(self._detach)))
        actions += _of_kinds((Deregister, self._deregister), (Remove, self._remove))
        if self._launches:
            actions.append(Launch(tuple(self._launches)))
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
        actions += _of_kinds((Drain, self._drain), (Stop, self._stop), (PowerOff, self._power_off))
        if self._unwanted:
            actions.append(RemoveVolumes(tuple(self._unwanted)))
        if actions:
            return Act(tuple(actions))
        return min(self._waits, key=lambda wait: (wait.idle, wait.until or float("inf"))) if self._waits else None

    def _may_leave(self, view: InstanceView) -> bool:
        """The others alone must keep the floor; a probe that failed just now does not make an instance free to take."""
        others = len(self._serving) - (view.id in self._serving)
        if others < self.floor:
            return False
        self._serving.discard(view.id)
        return True

    def _still_busy(self, view: InstanceView) -> bool:
        return view.in_flight != 0 and self._now < view.member_since + self._intent.drain_timeout


def lowered_floor(observed: Observed, intent: Intent) -> int:
    """What is in standby is out of service on purpose: the others need not make up for it."""
    resting = {view.slot for view in observed.instances if view.standby and view.live} - {
        view.slot for view in observed.instances if view.serving
    }
    return max(0, intent.floor - len(resting))


def _of_kinds(*kinds: tuple[type[Deregister | Drain | Stop | PowerOff | Remove], list[str]]) -> list[Action]:
    """One action for all that the same is done with."""
    return [kind(tuple(dict.fromkeys(ids))) for kind, ids in kinds if ids]


def _merged(changes: Iterable[Modify]) -> list[Modify]:
    """One call for all volumes that become alike."""
    alike: dict[tuple[int, str], list[str]] = {}
    for each in changes:
        alike.setdefault((each.size, each.kind), []).extend(each.volumes)
    return [Modify(tuple(ids), size, kind) for (size, kind), ids in alike.items()]
