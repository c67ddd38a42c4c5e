# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instances, volumes and registrations that no fleet owns any more. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..._providers.contract import FLEET, RUNNING, UP, VERIFY, Instance, Member, Volume
from ..model import OPEN, PRESENT, Intent

Kind = Literal["instance", "volume", "registration"]
INSTANCE: Kind = "instance"
VOLUME: Kind = "volume"
REGISTRATION: Kind = "registration"


@dataclass(frozen=True)
class Orphan:
    """One thing that no fleet owns."""

    kind: Kind
    id: str
    fleet: str
    slot: int | None
    why: str
    age: float | None = None  # seconds; None if the provider does not know

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FleetInventory:
    """All that exists under the name of one fleet, with the intent of its last swap."""

    fleet: str
    intent: Intent | None
    instances: Sequence[Instance] = ()
    volumes: Sequence[Volume] = ()
    members: Sequence[Member] = ()
    shared: bool = False  # whether the load balancer may also have members of others


def orphans(inventory: FleetInventory, now: float) -> list[Orphan]:
    """Find the orphans under the name of a fleet. While a swap is open there are none: it may still use anything.

    Args:
        now: seconds since the epoch, by the clock of the provider.
    """
    intent = inventory.intent
    if intent is not None and intent.status == OPEN:
        return []
    owner = intent if intent is not None and intent.goal == PRESENT else None
    instances = list(_instances(inventory, owner, now))
    ids = {instance.id for instance in inventory.instances}
    registrations = [
        Orphan(REGISTRATION, member.id, inventory.fleet, None, why="its instance is gone", age=now - member.since)
        for member in inventory.members
        if member.id not in ids and not inventory.shared
    ]
    return [*instances, *_volumes(inventory, owner), *registrations]


def _instances(inventory: FleetInventory, owner: Intent | None, now: float) -> Iterable[Orphan]:
    slots: dict[int, list[Instance]] = defaultdict(list)
    in_service = {member.id for member in inventory.members if member.state == UP}
    for instance in inventory.instances:
        if instance.purpose == VERIFY:
            yield _orphan(inventory, instance, "a verification left it", now)
        elif instance.purpose == FLEET and owner is None:
            yield _orphan(inventory, instance, "no fleet owns it", now)
        elif owner and not 0 <= instance.slot < owner.desired.size:
            yield _orphan(inventory, instance, f"the fleet has {owner.desired.size} slots", now)
        else:
            slots[instance.slot].append(instance)
    for instances in slots.values():
        keeper, *others = sorted(
            instances, key=lambda each: (each.id not in in_service, each.state != RUNNING, -each.created, each.id)
        )
        for instance in others:
            yield _orphan(inventory, instance, f"its slot belongs to {keeper.id}", now)


def _orphan(inventory: FleetInventory, instance: Instance, why: str, now: float) -> Orphan:
    return Orphan(INSTANCE, instance.id, inventory.fleet, instance.slot, why=why, age=now - instance.created)


def _volumes(inventory: FleetInventory, owner: Intent | None) -> Iterable[Orphan]:
    for volume in inventory.volumes:
        if owner is None:
            why = "no fleet owns it"
        elif not 0 <= volume.slot < owner.desired.size:
            why = f"the fleet has {owner.desired.size} slots"
        elif volume.name not in {spec.name for spec in owner.desired.volumes}:
            why = f"the fleet has no volume {volume.name}"
        else:
            continue
        yield Orphan(VOLUME, volume.id, inventory.fleet, volume.slot, why=why)
