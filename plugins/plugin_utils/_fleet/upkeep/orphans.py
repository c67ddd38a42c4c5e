# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What belongs to no fleet any more: instances, volumes and registrations that nothing will ever come back for. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..._providers.contract import FLEET, RUNNING, VERIFY, Instance, Member, Volume
from ..model import OPEN, PRESENT, Intent

INSTANCE, VOLUME, REGISTRATION = "instance", "volume", "registration"


@dataclass(frozen=True)
class Orphan:
    kind: str
    id: str
    fleet: str
    slot: int | None
    why: str
    age: float | None = None  # seconds, where the provider tells

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FleetInventory:
    """All that there is under one fleet's name, and what its last swap was about."""

    fleet: str
    intent: Intent | None
    instances: Sequence[Instance] = ()
    volumes: Sequence[Volume] = ()
    members: Sequence[Member] = ()


def orphans(seen: FleetInventory, now: float) -> list[Orphan]:
    """A swap that is under way has none: what looks left over may be what it works with."""
    intent = seen.intent
    if intent is not None and intent.status == OPEN:
        return []
    owner = intent if intent is not None and intent.goal == PRESENT else None
    instances = list(_instances(seen, owner, now))
    gone = {each.id for each in seen.instances}
    strays = [
        Orphan(REGISTRATION, each.id, seen.fleet, None, "its instance is gone", now - each.since)
        for each in seen.members
        if each.id not in gone
    ]
    return [*instances, *_volumes(seen, owner), *strays]


def _instances(seen: FleetInventory, owner: Intent | None, now: float) -> Iterable[Orphan]:
    slots: dict[int, list[Instance]] = defaultdict(list)
    up = {each.id for each in seen.members if each.state == "up"}
    for each in seen.instances:
        age = now - each.created
        if each.purpose == VERIFY:
            yield Orphan(INSTANCE, each.id, seen.fleet, each.slot, "a verification left it", age)
        elif each.purpose == FLEET and owner is None:
            yield Orphan(INSTANCE, each.id, seen.fleet, each.slot, "no fleet owns it", age)
        elif owner and not 0 <= each.slot < _size(owner):
            yield Orphan(INSTANCE, each.id, seen.fleet, each.slot, f"the fleet has {_size(owner)} slots", age)
        else:
            slots[each.slot].append(each)
    for slot, instances in slots.items():
        keeper, *rest = sorted(
            instances, key=lambda each: (each.id not in up, each.state != RUNNING, -each.created, each.id)
        )
        for each in rest:
            yield Orphan(INSTANCE, each.id, seen.fleet, slot, f"its slot belongs to {keeper.id}", now - each.created)


def _volumes(seen: FleetInventory, owner: Intent | None) -> Iterable[Orphan]:
    for each in seen.volumes:
        if owner is None:
            why = "no fleet owns it"
        elif not 0 <= each.slot < _size(owner):
            why = f"the fleet has {_size(owner)} slots"
        elif each.name not in {spec.name for spec in owner.aim.volumes}:
            why = f"the fleet has no volume {each.name}"
        else:
            continue
        yield Orphan(VOLUME, each.id, seen.fleet, each.slot, why)


def _size(owner: Intent) -> int:
    return owner.aim.size
