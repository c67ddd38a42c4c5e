# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is (Observed), what shall be (Intent) and what comes of comparing them (an Outcome). Frozen plain data.

Times are seconds since the epoch of the provider's clock, sizes are bytes, durations are seconds.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..providers.base import RUNNING, STOPPED, Volume

UP, DOWN, DRAIN = "up", "down", "drain"  # Member.state
PRESENT, ABSENT = "present", "absent"  # Intent.goal
FORWARD, ROLLBACK = "forward", "rollback"  # Intent.stage
OPEN, DONE, FAILED = "open", "done", "failed"  # Intent.status


@dataclass(frozen=True)
class InstanceView:
    """An instance as provider, balancer and probe see it together."""

    id: str
    slot: int
    image: str
    launch: str
    state: str
    created: float
    started: float
    proven: bool  # it sealed itself in its present boot, with this image and this launch's nonce
    refuted: bool = False  # it sealed itself, but as something else
    healthy: bool = False  # the last probe passed
    problem: str = ""  # why it is not proven or not healthy
    waiting_since: float = 0.0  # since when it could have been healthy but was not; only with ``proven``
    member: str | None = None  # UP, DOWN, DRAIN, or None where the balancer does not know it
    in_flight: int | None = None
    member_since: float = 0.0
    volumes: tuple[str, ...] = ()  # ids of what is attached to it
    address: tuple[str, int] | None = None  # where it takes traffic
    image_name: str = ""

    @property
    def running(self) -> bool:
        return self.state != STOPPED

    @property
    def serving(self) -> bool:
        return self.state == RUNNING and self.member == UP and self.healthy and self.proven


@dataclass(frozen=True)
class Observed:
    at: float
    instances: tuple[InstanceView, ...] = ()
    volumes: tuple[Volume, ...] = ()
    strays: tuple[str, ...] = ()  # members whose instance is gone

    @property
    def serving(self) -> int:
        return sum(view.serving for view in self.instances)

    @property
    def counted(self) -> int:
        """What the ceiling counts: all that runs, draining ones included."""
        return sum(view.running for view in self.instances)


@dataclass(frozen=True)
class VolumeSpec:
    name: str
    size: int
    mount: str


@dataclass(frozen=True)
class Intent:
    """What a swap is about. It is written to the store before anything is done about it, and holds no secret."""

    fleet: str
    goal: str = PRESENT
    strategy: str = "rolling"
    image: str = ""  # digest
    image_name: str = ""
    launch: str = ""  # fingerprint
    size: int = 1
    surge: int = 1
    unavailable: int = 0
    volumes: tuple[VolumeSpec, ...] = ()  # of each slot
    remove_volumes: tuple[str, ...] = ()  # names; only with the goal ABSENT
    drain_timeout: float = 30.0
    stop_timeout: float = 60.0
    boot_deadline: float = 300.0
    health_deadline: float = 120.0
    started: float = 0.0
    stage: str = FORWARD
    status: str = OPEN
    reason: str = ""  # of a rollback
    turned: float = 0.0  # when the rollback began
    culprit: str = ""  # the instance that caused it
    last_words: tuple[str, ...] = ()  # the end of its console
    serial: int = 0  # part of launch tokens; grows with each removal, so that a token is never used for two instances

    @property
    def floor(self) -> int:
        return max(0, self.size - self.unavailable)

    @property
    def ceiling(self) -> int:
        return self.size + self.surge

    def same_aim(self, other: Intent) -> bool:
        """Whether both end in the same instances, whatever their sizes and time limits are."""
        return (self.goal, self.image, self.launch) == (other.goal, other.image, other.launch)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intent:
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        known["volumes"] = tuple(VolumeSpec(**spec) for spec in known.get("volumes", ()))
        for key in ("remove_volumes", "last_words"):
            known[key] = tuple(known.get(key, ()))
        return cls(**known)

    def turn_back(self, reason: str, culprit: str, last_words: tuple[str, ...], now: float) -> Intent:
        return replace(self, stage=ROLLBACK, reason=reason, culprit=culprit, last_words=last_words, turned=now)


@dataclass(frozen=True)
class Payload:
    """What a new instance gets besides its image. Never written anywhere: it holds secrets."""

    artifact: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    machine: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One run of the engine: the intent as asked for now (times and serial are filled in by the engine)."""

    service: str
    target: str
    intent: Intent
    payload: Payload = field(default_factory=Payload)
