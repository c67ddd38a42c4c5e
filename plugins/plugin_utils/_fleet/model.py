# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is (Observed), what shall be (Intent) and what comes of comparing them (an Outcome). Frozen plain data.

Times are seconds since the epoch of the provider's clock, sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from .._definition.model import InstancePolicy, Metric, Stage, Strategy, Window
from .._providers.contract import DRAIN, PENDING, RUNNING, STOPPED, STOPPING, UP, Volume

Goal = Literal["present", "absent"]
PRESENT: Final = "present"
ABSENT: Final = "absent"

Direction = Literal["forward", "rollback"]  # of a swap
FORWARD: Final = "forward"
ROLLBACK: Final = "rollback"

Status = Literal["open", "done", "failed"]  # of a swap
OPEN: Final = "open"
DONE: Final = "done"
FAILED: Final = "failed"

StrategyName = Strategy | Literal["autoscaling"]
PolicyName = InstancePolicy | Literal["refresh", "terminate"]  # the last two are of Auto Scaling


@dataclass(frozen=True, slots=True)
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
    zone: str = ""
    swap: int = -1  # serial of the swap that launched it
    attempt: int = 0  # how many instances of that swap its slot had lost before
    stopping_since: float = 0.0  # only while STOPPING
    passing: bool = False  # the balancer's checks pass, whether or not it gets requests
    tainted: str = ""  # why it is due for replacement
    protected: str = ""  # why it must not be touched without leave
    standby: str = ""  # why it is out of traffic on purpose

    @property
    def running(self) -> bool:
        return self.state != STOPPED

    @property
    def live(self) -> bool:
        """It runs, and nobody told it to stop."""
        return self.state in (PENDING, RUNNING)

    @property
    def stopping(self) -> bool:
        return self.state == STOPPING

    @property
    def ready(self) -> bool:
        """It is as good as in service: proven and its probe passes."""
        return self.state == RUNNING and self.proven and self.healthy

    @property
    def serving(self) -> bool:
        return self.ready and self.member == UP

    def counts(self, draining: bool) -> bool:
        """Whether it takes a place under the ceiling: it was not told to stop, and, unless ``draining``, does not drain."""
        return self.live and (draining or self.member != DRAIN)


@dataclass(frozen=True)
class Observed:
    at: float
    instances: tuple[InstanceView, ...] = ()
    volumes: tuple[Volume, ...] = ()
    strays: tuple[str, ...] = ()  # members whose instance is gone
    alarms: tuple[str, ...] = ()  # why the swap must not go on, as told from outside
    revoked: Mapping[str, str] = field(default_factory=dict)  # digest -> why it may not be put in service

    @property
    def serving(self) -> int:
        return sum(view.serving for view in self.instances)

    def counted(self, draining: bool) -> int:
        """What the ceiling counts: what was not told to stop; those that drain only with ``draining``."""
        return sum(view.counts(draining) for view in self.instances)


@dataclass(frozen=True)
class VolumeSpec:
    name: str
    size: int
    mount: str
    kind: str = ""


@dataclass(frozen=True)
class Version:
    """What a fleet can run: an image with all that its instances are launched with, and how many there are."""

    image: str  # digest
    image_name: str
    launch: str  # fingerprint
    size: int
    volumes: tuple[VolumeSpec, ...] = ()  # of each slot


@dataclass(frozen=True)
class Intent:
    """What a swap is about. It is written to the store before anything is done about it, and holds no secret."""

    fleet: str
    goal: Goal = PRESENT
    strategy: StrategyName = "rolling"
    image: str = ""  # digest
    image_name: str = ""
    launch: str = ""  # fingerprint
    size: int = 1
    surge: int = 1
    unavailable: int = 0
    count_draining: bool = True  # whether draining instances take a place under the ceiling
    volumes: tuple[VolumeSpec, ...] = ()  # of each slot
    remove_volumes: tuple[str, ...] = ()  # names; only with the goal ABSENT
    zones: tuple[str, ...] = ()  # slots are spread over them in turn
    keep_old: float = 0.0  # blue_green
    hot: bool = False  # recreate
    stages: tuple[Stage, ...] = ()  # canary; ``instances`` are counts here
    alarm: Metric | None = None
    before_swap: str = ""  # a playbook
    after_swap: str = ""
    deadline: float = 0.0  # of a run; 0 for none
    max_age: float = 0.0  # of a host; 0 for any
    protected: PolicyName = "wait"
    standby: PolicyName = "wait"
    windows: tuple[Window, ...] = ()
    drain_timeout: float = 30.0
    stop_timeout: float = 60.0
    boot_deadline: float = 300.0
    health_deadline: float = 120.0
    # From here on: how far it got.
    begun: bool = False  # something was due, so the intent was written
    origin: Version | None = None  # what a rollback goes back to
    origin_problem: str = ""  # why new instances of it cannot be launched
    started: float = 0.0
    resumed: float = 0.0  # when the run began that works on it now
    stage: Direction = FORWARD
    status: Status = OPEN
    reason: str = ""  # of a rollback
    culprit: str = ""  # the instance that caused it
    last_words: tuple[str, ...] = ()  # the end of its console
    serial: int = 0  # part of launch tokens; another one for each swap and each rollback
    first: int = 0  # the serial that the swap began with
    retries: tuple[
        tuple[int, int], ...
    ] = ()  # (slot, how many of its instances of the present serial are gone), part of launch tokens
    restarted: tuple[str, ...] = ()  # instances that the rollback started again
    passed: tuple[str, ...] = ()  # names of gates
    reached: float = 0.0  # when the present canary stage began to soak
    flipped: float = 0.0  # when the traffic of a blue_green swap was flipped
    asks: str = ""  # the gate that a person is asked to pass

    @property
    def target(self) -> Version:
        return Version(self.image, self.image_name, self.launch, self.size, self.volumes)

    @property
    def aim(self) -> Version:
        """What is to run in the end, at the present stage."""
        if self.stage == ROLLBACK:
            return self.origin or replace(self.target, image="", image_name="", launch="")
        return self.target

    @property
    def back(self) -> bool:
        return self.stage == ROLLBACK

    @property
    def floor(self) -> int:
        if self.goal == ABSENT or self.strategy == "recreate":
            return 0
        size = min(self.size, self.aim.size)
        return max(0, size - self.unavailable)

    @property
    def ceiling(self) -> int:
        return self.aim.size + self.surge

    def same_aim(self, other: Intent) -> bool:
        """Whether both end in the same instances, whatever their sizes and time limits are."""
        return (self.goal, self.image, self.launch) == (other.goal, other.image, other.launch)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intent:
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        known["volumes"] = _specs(known)
        for key in ("remove_volumes", "last_words", "zones", "restarted", "passed"):
            known[key] = tuple(known.get(key, ()))
        known["retries"] = tuple((slot, count) for slot, count in known.get("retries", ()))
        known["stages"] = tuple(
            Stage(**{**each, "metric": _metric(each.get("metric"))}) for each in known.get("stages", ())
        )
        known["windows"] = tuple(Window(**{**each, "days": tuple(each["days"])}) for each in known.get("windows", ()))
        known["alarm"] = _metric(known.get("alarm"))
        origin = known.get("origin")
        known["origin"] = Version(**{**origin, "volumes": _specs(origin)}) if origin else None
        return cls(**known)

    def turn_back(self, reason: str, culprit: str, last_words: tuple[str, ...]) -> Intent:
        return replace(
            self,
            stage=ROLLBACK,
            reason=reason,
            culprit=culprit,
            last_words=last_words,
            serial=self.serial + 1,
            retries=(),
        )

    def retried(self, slots: Iterable[int]) -> Intent:
        """An instance of the present serial in each of ``slots`` is gone: the next one there gets another token."""
        counts = dict(self.retries)
        for slot in slots:
            counts[slot] = counts.get(slot, 0) + 1
        return replace(self, retries=tuple(sorted(counts.items())))

    def token(self, slot: int, attempt: int) -> str:
        """The same token is the same instance, wherever a run was cut. A slot's second try has another one."""
        return f"{self.fleet}-{slot}-{self.aim.launch[:12]}-{self.serial}" + (f"-{attempt}" if attempt else "")


def _specs(data: Mapping[str, Any]) -> tuple[VolumeSpec, ...]:
    return tuple(VolumeSpec(**spec) for spec in data.get("volumes", ()))


def _metric(data: Mapping[str, Any] | None) -> Metric | None:
    return Metric(**{**data, "command": tuple(data["command"])}) if data else None


@dataclass(frozen=True)
class Payload:
    """What a new instance gets besides its image. Never written anywhere: it holds secrets."""

    artifact: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_refs: Mapping[str, str] = field(
        default_factory=dict
    )  # name -> parameter of SSM, which the host fetches itself
    machine: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One run of the engine: the intent as asked for now (times and serial are filled in by the engine)."""

    service: str
    target: str
    intent: Intent
    payload: Payload = field(default_factory=Payload)
    origin: Payload | None = None  # for instances of ``intent.origin``; None where they cannot be launched
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what ``payload`` is made from again later; no secret
