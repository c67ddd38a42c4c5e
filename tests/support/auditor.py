# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds the promises against the world around every changing call. It shares no code with the plan.

Who acts can know only what it was told. So the floor is judged by the last answers it got, together with what is really so: an instance that
died since the last look is nobody's fault. What it did itself it must know, however old the answers are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    Instance,
    Member,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    SimulatedMachine,
    World,
)

from .cases import FLEET


@dataclass
class Answers:
    """What one controller was told last, and what it took out of service since."""

    instances: dict[str, Instance] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    probes: dict[str, bool] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    revoked: dict[str, str] = field(default_factory=dict)

    def heard(self, kind: str, answer: Any, fresh: bool) -> None:
        if kind == "instances":
            self.instances = {each.id: each for each in answer}
        elif kind == "members":
            self.members = {each.id: each for each in answer}
            if fresh:
                self.taken.clear()
        elif kind == "probe":
            self.probes.update({each: passed is True for each, passed in answer.items()})

    def serving(self) -> set[str]:
        up = {each for each, member in self.members.items() if member.state == "up" and self.probes.get(each)}
        return {each for each in up if each in self.instances and self.instances[each].state == RUNNING} - self.taken


@dataclass
class Before:
    """The world as it was before a call."""

    serving: set[str]
    live: set[str]
    machines: dict[str, SimulatedMachine]
    leaving: set[str]
    members: set[str]  # that get requests
    holders: dict[str, str | None]


class Auditor:
    def __init__(self, world: World, intent: Callable[[], Mapping[str, Any]]) -> None:
        self._world = world
        self._intent = intent  # the document in the store
        self.ever_served: set[str] = self.serving()

    # What is really so.

    def serving(self) -> set[str]:
        world = self._world
        up = {
            each
            for each in self._served()
            if world.member(each, world.members[each]).state == "up" and world.healthy(world.machines[each])
        }
        return {each for each in up if _sealed_right(world.view(world.machines[each]))}

    def _served(self) -> set[str]:
        return {
            each for each in self._world.members if each in self._world.machines and _ours(self._world.machines[each])
        }

    def _live(self, draining: bool) -> set[str]:
        world = self._world
        live = {
            each
            for each, machine in world.machines.items()
            if _ours(machine) and not machine.removing and world.state(machine) in (PENDING, RUNNING)
        }
        out = {each for each, place in world.members.items() if place.draining or place.staged}
        return live if draining else live - out

    def before(self) -> Before:
        world = self._world
        return Before(
            serving=self.serving(),
            live=self._live(True),
            machines={each: machine for each, machine in world.machines.items() if _ours(machine)},
            leaving={each for each, machine in world.machines.items() if machine.removing},
            members={
                each for each in self._served() if not (world.members[each].draining or world.members[each].staged)
            },
            holders={volume.id: volume.attached_to for volume in world.volumes.values()},
        )

    def after(self, call: str, before: Before, told: Answers, rightful: bool) -> None:
        """``rightful``: it holds the lease still. Who lost it in the midst of this call is held to promises 3 and 4 only."""
        intent = self._intent()
        serving = self.serving()
        lost = before.serving - serving
        known = lost & told.serving()  # what it was told to be ill it may take, even if it got well since
        told.taken |= lost
        self._one_writer(before)
        self._only_good(call, before, told)
        if rightful:
            self._floor(call, intent, known, before, told.serving() | serving)
            self._ceiling(call, intent, before, told)
            self._succession(call, intent, before, told.serving() | serving, told.instances)
        self.ever_served |= serving

    def _floor(self, call: str, intent: Mapping[str, Any], lost: set[str], before: Before, serving: set[str]) -> None:
        if (
            not lost
            or len(serving) >= len(before.serving)
            or intent["goal"] == "absent"
            or intent["strategy"] == "recreate"
        ):
            return
        size = min(intent["size"], aim(intent)["size"])
        served = {before.machines[each].instance.slot for each in before.serving}
        rests = {
            machine.instance.slot for machine in before.machines.values() if "standby" in machine.instance.tags
        } - served
        floor = max(0, size - intent["unavailable"] - len(rests))
        assert len(serving) >= floor, (
            f"promise 1: {call} took {sorted(lost)} and left {len(serving)} of {floor} in service"
        )

    def _ceiling(self, call: str, intent: Mapping[str, Any], before: Before, told: Answers) -> None:
        live = self._live(intent["count_draining"])
        if not intent["count_draining"]:  # a balancer may have forgotten it since, while it still stops
            live -= {each for each, member in told.members.items() if member.state == "drain"}
        if self._live(True) > before.live:
            most = aim(intent)["size"] + intent["surge"]
            assert len(live) <= most, f"promise 2: after {call} {len(live)} run of {most}"

    def _one_writer(self, before: Before) -> None:
        world = self._world
        for volume in world.volumes.values():
            was = before.holders.get(volume.id)
            if was and was != volume.attached_to and was in world.machines:
                assert world.state(world.machines[was]) == STOPPED, (
                    f"promise 3: {volume.id} was taken from {was}, which runs"
                )
            assert volume.attached_to is None or volume.attached_to in world.machines, (
                f"promise 3: {volume.id} is attached to nothing"
            )
        assert set(before.holders) <= set(world.volumes), "a volume is gone"

    def _only_good(self, call: str, before: Before, told: Answers) -> None:
        world = self._world
        for each in set(world.machines) - set(before.machines):
            if _ours(world.machines[each]):
                assert world.machines[each].instance.image not in told.revoked, (
                    f"promise 4: {each} was launched, but its image is revoked"
                )
        now_in = {each for each in self._served() if not (world.members[each].draining or world.members[each].staged)}
        for each in now_in - before.members:
            machine = world.machines[each]
            view = world.view(machine)
            well = world.healthy(machine) or (told.probes.get(each) and each in told.instances)
            assert well and _sealed_right(view), (
                f"promise 4: {call} put {each} in service, which is not proven and well"
            )
            assert each in self.ever_served or view.image not in told.revoked, (
                f"promise 4: {call} put {each} in service, but its image is revoked"
            )

    def _succession(
        self, call: str, intent: Mapping[str, Any], before: Before, serving: set[str], known: Mapping[str, Instance]
    ) -> None:
        world = self._world
        slots = {each: view.slot for each, view in known.items()} | {
            each: machine.instance.slot for each, machine in world.machines.items()
        }
        gone = {
            each for each in before.machines if each not in world.machines or world.machines[each].removing
        } - before.leaving
        for each in gone:
            instance = before.machines[each].instance
            undone = intent["stage"] == "rollback" and int(instance.tags.get("swap", -1)) >= intent["first"]
            excused = undone or intent["goal"] == "absent" or instance.slot >= aim(intent)["size"]
            successors = {other for other in serving - {each} if slots[other] == instance.slot}
            assert excused or successors, f"promise 5: {call} took {each} away before anybody else served its slot"

    def refused(self, error: ProviderError) -> None:
        raise AssertionError(f"the provider had to refuse: {error.message}")


def aim(intent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Size, image and launch of what is to run in the end."""
    if intent["stage"] == "rollback":
        return intent["origin"] or {**intent, "image": "", "launch": ""}
    return intent


def _sealed_right(instance: Instance) -> bool:
    return instance.evidence is None or instance.evidence.digest == instance.image


def _ours(machine: SimulatedMachine) -> bool:
    return machine.instance.fleet == FLEET and machine.instance.purpose == "fleet"
