# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is intended, and what one run is asked for. Frozen plain data.

Times are seconds since the epoch by the provider's clock, sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from .._definition.model import Metric, Policy, ProtectedPolicy, Stage, StandbyPolicy, Strategy, Window
from .._providers.volume_options import VolumeOptions
from .observed import Death, Observed

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

REIMAGE: Final = "reimage"
StrategyName = Strategy | Literal["autoscaling"]


@dataclass(frozen=True)
class VolumeSpec:
    name: str
    size: int
    mount: str
    kind: str = ""
    iops: int = 0  # 0 for the provider's default
    throughput: int = 0  # MiB per second; 0 for the provider's default
    kms_key: str = ""  # "" for the provider's default

    @property
    def options(self) -> VolumeOptions:
        return VolumeOptions(self.iops, self.throughput, self.kms_key)

    def as_dict(self) -> dict[str, Any]:
        """Plain data. Fields of later releases are left out at their defaults."""
        later = ("iops", "throughput", "kms_key")
        return {name: value for name, value in asdict(self).items() if name not in later or value}


@dataclass(frozen=True)
class Version:
    """What a fleet runs: an image, everything that its instances are launched with, and their number."""

    image: str  # digest
    image_name: str
    launch: str  # fingerprint
    size: int
    volumes: tuple[VolumeSpec, ...] = ()  # of each slot


@dataclass(frozen=True)
class Intent:
    """What a swap is to reach, and how far it got. Written to the store before the first change; holds no secret."""

    fleet: str
    goal: Goal = PRESENT
    strategy: StrategyName = "rolling"
    image: str = ""  # digest
    image_name: str = ""
    launch: str = ""  # fingerprint
    size: int = 1
    surge: int = 1
    unavailable: int = 0
    count_draining: bool = True  # whether draining instances count under the ceiling
    volumes: tuple[VolumeSpec, ...] = ()  # of each slot
    remove_volumes: tuple[str, ...] = ()  # names of volumes to remove; only with the goal ABSENT
    zones: tuple[str, ...] = ()  # slots are assigned to them round-robin
    keep_old: float = 0.0  # blue_green
    hot: bool = False  # recreate
    stages: tuple[Stage, ...] = ()  # canary; ``instances`` are counts here
    alarm: Metric | None = None
    before_swap: str = ""  # a playbook
    after_swap: str = ""
    deadline: float = 0.0  # of a run; 0 for none
    max_age: float = 0.0  # of a host; 0 for none
    protected: Policy | ProtectedPolicy = "wait"
    standby: Policy | StandbyPolicy = "wait"
    windows: tuple[Window, ...] = ()
    drain_timeout: float = 30.0
    stop_timeout: float = 60.0
    boot_deadline: float = 300.0
    health_deadline: float = 120.0
    # The fields below record how far the swap got.
    begun: bool = False  # something had to change, so the intent was written
    origin: Version | None = None  # what a rollback restores
    origin_problem: str = ""  # why new instances of the origin cannot be launched
    started: float = 0.0
    resumed: float = 0.0  # when the present run began
    stage: Direction = FORWARD
    status: Status = OPEN
    reason: str = ""  # of a rollback
    culprit: str = ""  # the instance that caused the rollback
    last_words: tuple[str, ...] = ()  # the end of its console
    serial: int = 0  # part of launch tokens; each swap and each rollback has its own
    first: int = 0  # the serial that the swap began with
    # (slot, number of instances of the present serial that it lost); part of launch tokens
    retries: tuple[tuple[int, int], ...] = ()
    restarted: tuple[str, ...] = ()  # ids of instances that the rollback started again
    passed: tuple[str, ...] = ()  # names of gates
    reached: float = 0.0  # when the current canary stage began to soak
    flipped: float = 0.0  # when the traffic of a blue_green swap was switched
    asks: str = ""  # the gate that waits for approval
    # (slot, number of instances that the present serial may have launched there). The store keeps numbers above 1: a
    # resumed swap takes one launch for granted in each slot.
    launches: tuple[tuple[int, int], ...] = ()
    deaths: tuple[Death, ...] = ()  # of instances of the present serial

    @property
    def target(self) -> Version:
        """What the swap leads to if it succeeds."""
        return Version(self.image, self.image_name, self.launch, size=self.size, volumes=self.volumes)

    @property
    def desired(self) -> Version:
        """What the fleet is to run at the end of the present stage: the target, or the origin in a rollback."""
        if self.stage == ROLLBACK:
            return self.origin or replace(self.target, image="", image_name="", launch="")
        return self.target

    @property
    def rolling_back(self) -> bool:
        return self.stage == ROLLBACK

    @property
    def floor(self) -> int:
        """How many instances must stay in service at least."""
        if self.goal == ABSENT or self.strategy == "recreate":
            return 0
        size = min(self.size, self.desired.size)
        return max(0, size - self.unavailable)

    @property
    def ceiling(self) -> int:
        """How many instances may exist at most."""
        return self.desired.size + self.surge

    def same_goal(self, other: Intent) -> bool:
        """Whether both lead to the same instances. Sizes and time limits may differ."""
        return (self.goal, self.image, self.launch) == (other.goal, other.image, other.launch)

    def as_dict(self) -> dict[str, Any]:
        """The document of the store. Fields of later releases are left out at their defaults."""
        data = asdict(self)
        data["volumes"] = tuple(spec.as_dict() for spec in self.volumes)
        if self.origin:
            data["origin"]["volumes"] = tuple(spec.as_dict() for spec in self.origin.volumes)
        data["alarm"] = self.alarm.as_dict() if self.alarm else None
        for stage, fields in zip(self.stages, data["stages"], strict=True):
            fields["metric"] = stage.metric.as_dict() if stage.metric else None
        data["launches"] = [list(each) for each in self.launches if each[1] > 1]
        for name in ("launches", "deaths"):
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Intent:
        """Read a document of the store. Keys of other releases are ignored."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        known["volumes"] = _specs(known)
        for key in ("remove_volumes", "last_words", "zones", "restarted", "passed"):
            known[key] = tuple(known.get(key, ()))
        known["retries"] = tuple((slot, count) for slot, count in known.get("retries", ()))
        known["launches"] = tuple((slot, count) for slot, count in known.get("launches", ()))
        known["deaths"] = tuple(Death(**death) for death in known.get("deaths", ()))
        known["stages"] = tuple(
            Stage(**{**each, "metric": _metric(each.get("metric"))}) for each in known.get("stages", ())
        )
        known["windows"] = tuple(Window(**{**each, "days": tuple(each["days"])}) for each in known.get("windows", ()))
        known["alarm"] = _metric(known.get("alarm"))
        origin = known.get("origin")
        known["origin"] = Version(**{**origin, "volumes": _specs(origin)}) if origin else None
        return cls(**known)

    def begin_rollback(self, reason: str, culprit: str, last_words: tuple[str, ...]) -> Intent:
        """The same swap on its way back to the origin.

        Its launches are counted from zero, unless the origin is what the swap launched: that fails here as well.
        """
        again = self.origin is not None and self.origin.launch == self.launch
        return replace(
            self,
            launches=self.launches if again else (),
            deaths=self.deaths if again else (),
            stage=ROLLBACK,
            reason=reason,
            culprit=culprit,
            last_words=last_words,
            serial=self.serial + 1,
            retries=(),
        )

    def with_retries(self, slots: Iterable[int]) -> Intent:
        """Give the next launch in each of ``slots`` another token: an instance of the present serial is gone there."""
        return replace(self, retries=_one_more(self.retries, slots))

    def launched(self, slot: int) -> int:
        """How many instances the present serial may have launched in the slot."""
        return dict(self.launches).get(slot, 0)

    def with_launches(self, slots: Iterable[int]) -> Intent:
        """Count one more launch in each of ``slots``."""
        return replace(self, launches=_one_more(self.launches, slots))

    def with_assumed_launches(self) -> Intent:
        """Count one launch in each slot: whether an earlier run launched there is known only of further launches."""
        return self.with_launches([slot for slot in range(self.desired.size) if not self.launched(slot)])

    def with_launches_seen(self, observed: Observed) -> Intent:
        """Count the launches that the observation shows, if they are more than are counted."""
        seen = Counter(view.slot for view in observed.instances if view.swap == self.serial)
        seen.update(death.slot for death in self.deaths)
        more = [(slot, count) for slot, count in seen.items() if count > self.launched(slot)]
        return replace(self, launches=tuple(sorted({**dict(self.launches), **dict(more)}.items()))) if more else self

    def with_deaths(self, deaths: Iterable[Death]) -> Intent:
        """Add the deaths of instances that the present serial launched. Their launch tokens are spent."""
        known = {death.id for death in self.deaths}
        new = [death for death in deaths if death.swap == self.serial and death.id not in known]
        attempts = dict(self.retries)
        for death in new:
            attempts[death.slot] = max(attempts.get(death.slot, 0), death.attempt + 1)
        return replace(self, deaths=(*self.deaths, *new), retries=tuple(sorted(attempts.items()))) if new else self

    def token(self, slot: int, attempt: int) -> str:
        """The token of a launch: repeating a launch with the same token returns the same instance.

        A slot's second attempt has another token.
        """
        return f"{self.fleet}-{slot}-{self.desired.launch[:12]}-{self.serial}" + (f"-{attempt}" if attempt else "")


def _one_more(counts: tuple[tuple[int, int], ...], slots: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The numbers by slot, with one more for each of ``slots``."""
    return tuple(sorted((Counter(dict(counts)) + Counter(slots)).items()))


def _specs(data: Mapping[str, Any]) -> tuple[VolumeSpec, ...]:
    return tuple(VolumeSpec(**spec) for spec in data.get("volumes", ()))


def _metric(data: Mapping[str, Any] | None) -> Metric | None:
    if not data:
        return None
    headers = tuple((name, value) for name, value in data.get("headers", ()))
    return Metric(**{**data, "command": tuple(data["command"]), "headers": headers})


@dataclass(frozen=True)
class Payload:
    """What a new instance gets besides its image. It holds secrets, so it is never written anywhere."""

    artifact: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Parameters of SSM by the name of the secret; the host fetches them itself.
    secret_refs: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What one run of the engine is asked for. The engine fills in the times and the serial of the intent."""

    service: str
    target: str
    intent: Intent
    payload: Payload = field(default_factory=Payload)
    origin: Payload | None = None  # for instances of ``intent.origin``; None if they cannot be launched
    balancer_drains: bool = False  # whether a delay of the balancer's own counts instead of ``intent.drain_timeout``
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what ``payload`` can be rebuilt from; no secret
