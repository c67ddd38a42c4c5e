# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan can say: these actions now, a wait, a gate, a pause, an end, or the begin of a rollback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from .._core.errors import FleetError
from .._definition.model import Metric
from .model import Intent

BEFORE_SWAP, AFTER_SWAP = "before_swap", "after_swap"  # names of gates


@dataclass(frozen=True)
class CreateVolumes:
    missing: tuple[tuple[int, str], ...]  # (slot, name)


@dataclass(frozen=True)
class LaunchSlot:
    slot: int
    volumes: tuple[str, ...] = ()  # to attach from the start
    attempt: int = 0


@dataclass(frozen=True)
class Launch:
    places: tuple[LaunchSlot, ...]


@dataclass(frozen=True)
class Attach:
    volumes: tuple[str, ...]
    instance: str


@dataclass(frozen=True)
class Detach:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Modify:
    """Grow detached volumes or change their type."""

    volumes: tuple[str, ...]
    size: int
    kind: str


@dataclass(frozen=True)
class RemoveVolumes:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Register:
    ids: tuple[str, ...]
    staged: bool = False  # checked, but without requests


@dataclass(frozen=True)
class Switch:
    """The flip: ``on`` takes the requests, ``off`` drains."""

    on: tuple[str, ...]
    off: tuple[str, ...]


@dataclass(frozen=True)
class Drain:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Deregister:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class PowerOff:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Remove:
    ids: tuple[str, ...]


OnInstances = Start | Register | Drain | Deregister | Stop | PowerOff | Remove
OnVolumes = Attach | Detach | Modify | RemoveVolumes
Action = CreateVolumes | Launch | OnVolumes | Switch | OnInstances


def defect(what: str) -> FleetError:
    """The error of a changing call that a correct plan does not ask for."""
    return FleetError(f"refused by the engine's own check, which is a defect worth reporting: {what}")


def unknown_action(action: NoReturn) -> FleetError:
    """The error of an action that a ``match`` has no case for. mypy reports each known action that can get here."""
    return defect(f"unknown action {type(action).__name__}")


@dataclass(frozen=True)
class Act:
    """Safe now, in this order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Wait:
    reason: str
    until: float | None = None  # the deadline, where there is one
    idle: bool = False  # nothing is done meanwhile but to let time pass: a soak, a warm old fleet
    metric: Metric | None = None  # to be read meanwhile


@dataclass(frozen=True)
class Gate:
    """Something outside the fleet must say yes before the swap goes on. ``name`` is remembered once it did."""

    name: str
    playbook: str = ""
    metric: Metric | None = None
    slots: tuple[int, ...] = ()  # whose hosts it is about


@dataclass(frozen=True)
class Remember:
    """Nothing is done, but the intent is to be kept with what became of it."""

    intent: Intent
    event: str


@dataclass(frozen=True)
class Pause:
    """The swap waits for people or for an hour of the day: the run ends here, and a later one goes on."""

    reason: str
    gate: str = ""  # that an approval would pass


@dataclass(frozen=True)
class Done:
    left: tuple[int, ...] = ()  # slots that the policy left as they are


@dataclass(frozen=True)
class BeginRollback:
    reason: str
    culprit: str = ""  # instance id


@dataclass(frozen=True)
class Stopped:
    """Nothing more can be done, and the intent was not reached."""

    reason: str


Outcome = Act | Wait | Gate | Remember | Pause | Done | BeginRollback | Stopped
