# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan can say: these actions now, a wait, an end, or the begin of a rollback."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CreateVolumes:
    missing: tuple[tuple[int, str], ...]  # (slot, name)


@dataclass(frozen=True)
class Launch:
    slots: tuple[tuple[int, tuple[str, ...]], ...]  # (slot, volumes to attach from the start)


@dataclass(frozen=True)
class Attach:
    volumes: tuple[str, ...]
    instance: str


@dataclass(frozen=True)
class Detach:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class RemoveVolumes:
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Register:
    ids: tuple[str, ...]


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
class Remove:
    ids: tuple[str, ...]


OnInstances = Start | Register | Drain | Deregister | Stop | Remove
Action = CreateVolumes | Launch | Attach | Detach | RemoveVolumes | OnInstances


@dataclass(frozen=True)
class Act:
    """Safe now, in this order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Wait:
    reason: str
    until: float | None = None  # the deadline, where there is one


@dataclass(frozen=True)
class Done:
    pass


@dataclass(frozen=True)
class BeginRollback:
    reason: str
    culprit: str  # instance id


@dataclass(frozen=True)
class Stopped:
    """Nothing more can be done, and the intent was not reached."""

    reason: str


Outcome = Act | Wait | Done | BeginRollback | Stopped
