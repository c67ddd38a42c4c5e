# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect what is safe to do in one go, in bulk, with the floor and the ceiling kept in mind."""
from __future__ import annotations

from collections.abc import Iterable

from .model import DRAIN, UP, InstanceView, Intent, Observed
from .outcome import Act, Action, Attach, CreateVolumes, Deregister, Detach, Done, Drain, Launch, Outcome, Register, Remove, RemoveVolumes, Start, Stop, Wait


class Batch:
    """Every method notes one step; those that could break the floor or the ceiling say whether it was allowed."""

    def __init__(self, observed: Observed, intent: Intent, now: float) -> None:
        self._intent = intent
        self._now = now
        self._serving = {view.id for view in observed.instances if view.serving}
        self._counted = observed.counted
        self._volumes: list[tuple[int, str]] = []
        self._launches: list[tuple[int, tuple[str, ...]]] = []
        self._attach: list[Attach] = []
        self._detach: list[str] = []
        self._unwanted: list[str] = []
        self._start: list[str] = []
        self._register: list[str] = []
        self._drain: list[str] = []
        self._deregister: list[str] = []
        self._stop: list[str] = []
        self._remove: list[str] = []
        self._waits: list[Wait] = []

    def create_volumes(self, slot: int, names: Iterable[str]) -> None:
        self._volumes += [(slot, name) for name in names]

    def reserve(self) -> None:
        """Keep a place under the ceiling for one that cannot be launched yet."""
        self._counted += 1

    def launch(self, slot: int, volumes: Iterable[str]) -> bool:
        if self._counted >= self._intent.ceiling:
            return False
        self._counted += 1
        self._launches.append((slot, tuple(volumes)))
        return True

    def attach(self, volumes: Iterable[str], view: InstanceView) -> None:
        self._attach.append(Attach(tuple(volumes), view.id))

    def detach(self, volumes: Iterable[str]) -> None:
        self._detach += volumes

    def remove_volumes(self, volumes: Iterable[str]) -> None:
        self._unwanted += volumes

    def start(self, view: InstanceView) -> None:
        self._start.append(view.id)

    def register(self, view: InstanceView) -> None:
        self._register.append(view.id)

    def deregister(self, instance_id: str) -> None:
        self._deregister.append(instance_id)

    def remove(self, view: InstanceView) -> None:
        self._remove.append(view.id)

    def below_floor(self) -> bool:
        return len(self._serving) < self._intent.floor

    def wait(self, reason: str, until: float | None = None) -> None:
        self._waits.append(Wait(reason, until))

    def take_out(self, view: InstanceView, given_up: bool = False) -> bool:
        """One step on the way out of traffic and to a stop: drain, deregister, stop. True once it is out and stopped.

        ``given_up``: it serves nobody, whatever the balancer says, so it neither counts for the floor nor needs draining.
        """
        if view.member == UP and not given_up:
            if self._may_leave(view):
                self._drain.append(view.id)
            else:
                self.wait(f"slot {view.slot}: {view.id} stays in service, since {self._intent.floor} must be and {len(self._serving)} are")
        elif view.member == DRAIN and not given_up and view.running and self._still_busy(view):
            flight = "an unknown number of" if view.in_flight is None else view.in_flight
            self.wait(f"slot {view.slot}: {view.id} drains, {flight} requests in flight", view.member_since + self._intent.drain_timeout)
        elif view.member is not None:
            self._serving.discard(view.id)
            self._deregister.append(view.id)
        elif view.running:
            self._stop.append(view.id)
        else:
            return True
        return False

    def outcome(self) -> Outcome:
        actions: list[Action] = []
        if self._volumes:
            actions.append(CreateVolumes(tuple(self._volumes)))
        if self._launches:
            actions.append(Launch(tuple(self._launches)))
        if self._detach:
            actions.append(Detach(tuple(self._detach)))
        actions += self._attach
        kinds = ((Start, self._start), (Register, self._register), (Deregister, self._deregister), (Drain, self._drain), (Remove, self._remove))
        actions += [kind(tuple(ids)) for kind, ids in kinds if ids]
        if self._unwanted:
            actions.append(RemoveVolumes(tuple(self._unwanted)))
        if self._stop:  # last: it may take long, and what was observed is stale after it
            actions.append(Stop(tuple(self._stop)))
        if actions:
            return Act(tuple(actions))
        return min(self._waits, key=lambda wait: wait.until or float("inf")) if self._waits else Done()

    def _may_leave(self, view: InstanceView) -> bool:
        """The others alone must keep the floor; a probe that failed just now does not make an instance free to take."""
        others = self._serving - {view.id}
        if len(others) < self._intent.floor:
            return False
        self._serving = others
        return True

    def _still_busy(self, view: InstanceView) -> bool:
        return view.in_flight != 0 and self._now < view.member_since + self._intent.drain_timeout
