# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The outcomes of a plan: actions that are safe now, a wait, a gate, a pause, an end, or the start of a rollback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from .._core.errors import FleetError
from .._definition.model import Metric
from .._providers.volume_options import NO_OPTIONS, VolumeOptions
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
    slots: tuple[LaunchSlot, ...]


@dataclass(frozen=True)
class ReimageSlot:
    slot: int
    id: str  # of the instance
    attempt: int = 0


@dataclass(frozen=True)
class Reimage:
    """Boot instances from the desired image; they keep their identity, addresses and volumes."""

    slots: tuple[ReimageSlot, ...]


@dataclass(frozen=True)
class Attach:
    volumes: tuple[str, ...]
    instance: str


@dataclass(frozen=True)
class Detach:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Modify:
    """Grow detached volumes, or change their type or options."""

    volumes: tuple[str, ...]
    size: int
    kind: str
    options: VolumeOptions = NO_OPTIONS


@dataclass(frozen=True)
class RemoveVolumes:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Register:
    ids: tuple[str, ...]
    staged: bool = False  # checked by the load balancer, but without requests


@dataclass(frozen=True)
class Switch:
    """Move the traffic at once: ``on`` gets the requests, ``off`` drains."""

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


@dataclass(frozen=True)
class Release:
    """Delete the roots that instances had before they were reimaged."""

    ids: tuple[str, ...]


OnInstances = Start | Register | Drain | Deregister | Stop | PowerOff | Remove | Release
OnVolumes = Attach | Detach | Modify | RemoveVolumes
Action = CreateVolumes | Launch | Reimage | OnVolumes | Switch | OnInstances


def defect(what: str) -> FleetError:
    """The error of a changing call that a correct plan does not ask for."""
    return FleetError(f"refused by the engine's own check, which is a defect worth reporting: {what}")


def unknown_action(action: NoReturn) -> FleetError:
    """The error of an action that a ``match`` has no case for. mypy reports each known action that can get here."""
    return defect(f"unknown action {type(action).__name__}")


@dataclass(frozen=True)
class Act:
    """Actions that are safe now, in this order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing is safe to do until the fleet changes or time passes."""

    reason: str
    until: float | None = None  # the deadline, if there is one
    idle: bool = False  # only time has to pass, such as a soak or the time that the old fleet stays warm
    metric: Metric | None = None  # to read in the meantime


@dataclass(frozen=True)
class Gate:
    """A playbook or a metric that must pass before the swap continues. The intent keeps the names of passed gates."""

    name: str
    playbook: str = ""
    metric: Metric | None = None
    slots: tuple[int, ...] = ()  # whose hosts it checks


@dataclass(frozen=True)
class Remember:
    """Save the intent with its progress; the fleet does not change."""

    intent: Intent
    event: str


@dataclass(frozen=True)
class Pause:
    """End this run until a user acts or a window opens. A later run resumes the swap."""

    reason: str
    gate: str = ""  # the gate that an approval passes


@dataclass(frozen=True)
class Done:
    """The intent is reached."""

    left: tuple[int, ...] = ()  # slots that a policy leaves as they are


@dataclass(frozen=True)
class BeginRollback:
    """Restore the origin."""

    reason: str
    culprit: str = ""  # instance id


@dataclass(frozen=True)
class Stopped:
    """The intent was not reached, and nothing more can be done."""

    reason: str


Outcome = Act | Wait | Gate | Remember | Pause | Done | BeginRollback | Stopped
