# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the promises against the simulated world around every changing call. It shares no code with the plan.

A controller can know only the answers that it received. So the auditor judges the floor by the last answers and
the real state. It does not blame the controller for an instance that died after the last observation. The controller
must know its own actions, however old the answers are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import ATTEMPT, STANDBY, SWAP

from .cases import FLEET

# What must have been read since the controller last waited for the fleet, before it makes such a call.
READ_BEFORE = {
    "register": ("instances",),
    "switch": ("instances", "members"),
    "drain": ("members",),
    "deregister": ("members",),
    "remove": ("members",),
    "stop": ("instances", "members"),
    "start": ("instances", "members"),
}
MOST_LAUNCHES = 5  # of a swap in a slot, and of its rollback


@dataclass
class Answers:
    """The last answers that one controller received, and what it took out of service since."""

    instances: dict[str, Instance] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    probes: dict[str, bool] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)  # members that drained, and did not return to service since
    revoked: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)  # kinds of answers since the controller last waited for the fleet

    def record(self, kind: str, answer: Any, fresh: bool) -> None:
        self.read.add(kind)
        if kind == "instances":
            self.instances = {instance.id: instance for instance in answer}
        elif kind == "members":
            self.members = {member.id: member for member in answer}
            self.drained |= {member.id for member in answer if member.state == "drain"}
            self.drained -= {member.id for member in answer if member.state != "drain"}
            if fresh:
                self.taken.clear()
        elif kind == "probe":
            self.probes.update({name: passed is True for name, passed in answer.items()})

    def serving(self) -> set[str]:
        up = {name for name, member in self.members.items() if member.state == "up" and self.probes.get(name)}
        running = {name for name in up if name in self.instances and self.instances[name].state == RUNNING}
        return running - self.taken


@dataclass
class Snapshot:
    """The real state before a call. All but ``machines`` and ``holders`` are ids of instances."""

    serving: set[str]
    live: set[str]
    machines: dict[str, SimulatedMachine]
    removing: set[str]
    versions: dict[str, Instance]  # as they were before the call
    receiving: set[str]  # members that get new requests
    holders: dict[str, str | None]  # instance by volume


class Auditor:
    """Compares the real state before and after each call with the intent in the store."""

    def __init__(self, world: World, intent: Callable[[], Mapping[str, Any]]) -> None:
        self._world = world
        self._intent = intent  # reads the document in the store
        self.ever_served: set[str] = self.serving()
        self.launched: dict[tuple[int, str], set[str]] = {}  # names of all machines by slot and serial of the swap

    # The real state.

    def serving(self) -> set[str]:
        """Ids of the instances in service: up, healthy and sealed as their image."""
        world = self._world
        return {
            name
            for name in self._members()
            if world.member(name, world.members[name]).state == "up"
            and world.healthy(world.machines[name])
            and _sealed_as_its_image(world.view(world.machines[name]))
        }

    def _members(self) -> set[str]:
        machines = self._world.machines
        return {name for name in self._world.members if name in machines and in_fleet(machines[name])}

    def _receiving(self) -> set[str]:
        entries = self._world.members
        return {name for name in self._members() if not (entries[name].draining or entries[name].staged)}

    def _live(self, count_draining: bool) -> set[str]:
        world = self._world
        live = {
            name
            for name, machine in world.machines.items()
            if in_fleet(machine) and not machine.removing and world.state(machine) in (PENDING, RUNNING)
        }
        out = {name for name, entry in world.members.items() if entry.draining or entry.staged}
        return live if count_draining else live - out

    def snapshot(self) -> Snapshot:
        world = self._world
        return Snapshot(
            serving=self.serving(),
            live=self._live(count_draining=True),
            machines={name: machine for name, machine in world.machines.items() if in_fleet(machine)},
            versions={name: machine.instance for name, machine in world.machines.items() if in_fleet(machine)},
            removing={name for name, machine in world.machines.items() if machine.removing},
            receiving=self._receiving(),
            holders={volume.id: volume.attached_to for volume in world.volumes.values()},
        )

    # The promises.

    def check(self, call: str, before: Snapshot, answers: Answers, holds_lease: bool) -> None:
        """Raises AssertionError if a call broke a promise.

        Args:
            holds_lease: whether the controller still holds the lease. If it lost it during the call, only promises
                3 and 4 count.
        """
        intent = self._intent()
        missing = set(READ_BEFORE.get(call, ())) - answers.read
        assert not missing, f"{call} relies on {', '.join(sorted(missing))} from before the last wait"
        serving = self.serving()
        if call == "drain":  # the balancer may have removed a drained member before the next call
            answers.drained |= {name for name, entry in self._world.members.items() if entry.draining}
        lost = before.serving - serving
        # The controller may take what its answers show as unhealthy, even if that got healthy since.
        known_lost = lost & answers.serving()
        answers.taken |= lost
        self._check_launches(before)
        self._check_one_writer(before)
        self._check_only_good(call, before, answers)
        if holds_lease:
            serving_or_known = answers.serving() | serving | self._switched(call, before, answers)
            if known_lost and len(serving_or_known) < len(before.serving):
                self._check_floor(call, intent, before, lost=known_lost, serving=serving_or_known)
            self._check_ceiling(call, intent, before, answers)
            self._check_successors(call, intent, before, serving=serving_or_known, known=answers.instances)
            self._check_kept_roots(call, before, serving_or_known)
        self.ever_served |= serving

    def _switched(self, call: str, before: Snapshot, answers: Answers) -> set[str]:
        """Staged members that a switch put in service, and that were ready and passing as far as is known.

        An instance may have died since the controller's last answer. The balancer still has its member.
        """
        if call != "switch":
            return set()
        known = {name for name, member in answers.members.items() if member.passing and answers.probes.get(name)}
        running = {name for name in known if name in answers.instances and answers.instances[name].state == RUNNING}
        entries = self._world.members
        receiving = {name for name, entry in entries.items() if not (entry.draining or entry.staged)}
        return (receiving - before.receiving) & running

    def _check_floor(
        self, call: str, intent: Mapping[str, Any], before: Snapshot, *, lost: set[str], serving: set[str]
    ) -> None:
        if intent["goal"] == "absent" or intent["strategy"] == "recreate":
            return
        size = min(intent["size"], goal_of(intent)["size"])
        served = {before.machines[name].instance.slot for name in before.serving}
        standby = {machine.instance.slot for machine in before.machines.values() if STANDBY in machine.instance.tags}
        floor = max(0, size - intent["unavailable"] - len(standby - served))
        assert len(serving) >= floor, (
            f"promise 1: {call} took {sorted(lost)} and left {len(serving)} of {floor} in service"
        )

    def _check_ceiling(self, call: str, intent: Mapping[str, Any], before: Snapshot, answers: Answers) -> None:
        if not self._live(count_draining=True) > before.live:
            return
        live = self._live(intent["count_draining"])
        if not intent["count_draining"]:  # the balancer may have removed a drained member that still stops
            live -= answers.drained
        ceiling = goal_of(intent)["size"] + intent["surge"]
        assert len(live) <= ceiling, f"promise 2: after {call} {len(live)} run of {ceiling}"

    def _check_launches(self, before: Snapshot) -> None:
        """A slot gets few instances in a swap, and few in a rollback, whatever became of them and of the runs."""
        world = self._world
        for name in [*sorted(set(world.machines) - set(before.machines)), *self._reimaged(before)]:
            machine = world.machines[name]
            if in_fleet(machine):
                slot, swap = machine.instance.slot, machine.instance.tags[SWAP]
                names = self.launched.setdefault((slot, swap), set())
                names.add(f"{name} {machine.instance.tags.get(ATTEMPT)}")
                assert len(names) <= MOST_LAUNCHES, (
                    f"promise 10: swap {swap} launched {len(names)} instances in slot {slot}"
                )

    def _reimaged(self, before: Snapshot) -> list[str]:
        """Names of the machines that the call gave another root."""

        def version(instance: Instance) -> tuple[str | None, ...]:
            return instance.image, instance.launch, instance.tags.get(SWAP), instance.tags.get(ATTEMPT)

        machines = self._world.machines
        return [
            name
            for name, instance in before.versions.items()
            if name in machines and version(machines[name].instance) != version(instance)
        ]

    def _check_kept_roots(self, call: str, before: Snapshot, serving: set[str]) -> None:
        for name, instance in before.versions.items():
            machine = self._world.machines.get(name)
            released = machine and instance.root.previous and not machine.instance.root.previous
            assert not released or name in serving, (
                f"promise 5: {call} deleted the previous root of {name}, which does not serve"
            )

    def _check_one_writer(self, before: Snapshot) -> None:
        world = self._world
        for volume in world.volumes.values():
            holder = before.holders.get(volume.id)
            if holder and holder != volume.attached_to and holder in world.machines:
                assert world.state(world.machines[holder]) == STOPPED, (
                    f"promise 3: {volume.id} was taken from {holder}, which runs"
                )
            assert volume.attached_to is None or volume.attached_to in world.machines, (
                f"promise 3: {volume.id} is attached to nothing"
            )
        assert set(before.holders) <= set(world.volumes), "a volume was removed"

    def _check_only_good(self, call: str, before: Snapshot, answers: Answers) -> None:
        world = self._world
        for name in [*sorted(set(world.machines) - set(before.machines)), *self._reimaged(before)]:
            if in_fleet(world.machines[name]):
                assert world.machines[name].instance.image not in answers.revoked, (
                    f"promise 4: {name} was launched, but its image is revoked"
                )
        for name in self._receiving() - before.receiving:
            machine = world.machines[name]
            view = world.view(machine)
            healthy = world.healthy(machine) or (answers.probes.get(name) and name in answers.instances)
            assert healthy and _sealed_as_its_image(view), (
                f"promise 4: {call} put {name} in service, which is not known to be sealed and healthy"
            )
            assert name in self.ever_served or view.image not in answers.revoked, (
                f"promise 4: {call} put {name} in service, but its image is revoked"
            )

    def _check_successors(
        self,
        call: str,
        intent: Mapping[str, Any],
        before: Snapshot,
        *,
        serving: set[str],
        known: Mapping[str, Instance],
    ) -> None:
        world = self._world
        slots = {name: instance.slot for name, instance in known.items()}
        slots.update({name: machine.instance.slot for name, machine in world.machines.items()})
        kept = {name for name, machine in world.machines.items() if not machine.removing}
        for name in set(before.machines) - kept - before.removing:
            instance = before.machines[name].instance
            launched_by_swap = int(instance.tags.get(SWAP, -1)) >= intent["first"]
            rolled_back = intent["stage"] == "rollback" and launched_by_swap
            excused = rolled_back or intent["goal"] == "absent" or instance.slot >= goal_of(intent)["size"]
            successors = {other for other in serving - {name} if slots[other] == instance.slot}
            assert excused or successors, f"promise 5: {call} removed {name} before another instance served its slot"


def goal_of(intent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Size, image and launch that the fleet has in the end."""
    if intent["stage"] == "rollback":
        return intent["origin"] or {**intent, "image": "", "launch": ""}
    return intent


def in_fleet(machine: SimulatedMachine) -> bool:
    """Whether a machine is an instance of the fleet under test, and not of another fleet or a verification."""
    return machine.instance.fleet == FLEET and machine.instance.purpose == "fleet"


def _sealed_as_its_image(instance: Instance) -> bool:
    return instance.evidence is None or instance.evidence.digest == instance.image
