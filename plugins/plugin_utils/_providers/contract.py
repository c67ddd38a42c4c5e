# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rooms know of a provider: plain data and small protocols.

Times are seconds since the epoch (float) of the provider's clock, sizes are bytes.
Every changing call is idempotent: repeated after a lost answer it does nothing more.
Reading calls are bulk calls: one per kind and fleet, never one per instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

# What an instance was launched for.
Purpose = Literal["fleet", "verify"]
FLEET: Final = "fleet"
VERIFY: Final = "verify"

InstanceState = Literal["pending", "running", "stopping", "stopped"]
PENDING: Final = "pending"  # no process yet, or its present boot has not sealed itself yet
RUNNING: Final = "running"
STOPPING: Final = "stopping"  # asked to stop, and not down yet
STOPPED: Final = "stopped"

# The state of a load balancer's member.
MemberState = Literal["up", "down", "drain"]
UP: Final = "up"
DOWN: Final = "down"  # its checks fail, or have not passed yet
DRAIN: Final = "drain"  # it gets no new requests; so are staged members

SSH_PORT = 22  # of every guest that has an SSH server


@dataclass(frozen=True)
class Evidence:
    """What a host said of itself on its console when it sealed itself."""

    digest: str  # "sha256:<hex>", the image's identity
    nonce: str  # of this launch
    host_key: str  # "ssh-ed25519 AAAA..." or "" where there is no sshd
    shell: str  # "restricted" or "off"


@dataclass(frozen=True)
class Instance:
    """One machine, as its provider describes it."""

    id: str
    fleet: str  # "<service>-<target>", or the name of a verification
    slot: int  # from 0
    image: str  # the digest it was launched from
    launch: str  # fingerprint of all it was launched with (image, settings, secrets, machine settings)
    state: InstanceState
    purpose: Purpose
    created: float
    nonce: str
    endpoints: Mapping[int, tuple[str, int]] = field(default_factory=dict)  # guest port -> (address, port) to reach it
    evidence: Evidence | None = None  # None until it sealed itself in its present boot
    tags: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0  # when its present boot began
    stopping_since: float = 0.0  # when it was told to stop; only while STOPPING
    zone: str = ""  # where the provider has zones


@dataclass(frozen=True)
class Volume:
    """One data volume. It belongs to a slot, never to an instance."""

    id: str
    fleet: str
    slot: int
    name: str  # as in the definition
    size: int
    attached_to: str | None = None  # instance id
    attached_at: float = 0.0
    kind: str = ""  # the provider's own word for its type ("gp3", "qcow2"); "" where it has only one
    zone: str = ""  # where the provider has zones


@dataclass(frozen=True)
class VolumeRequest:
    fleet: str
    slot: int
    name: str
    size: int
    mount: str
    kind: str = ""  # "" for the provider's default
    zone: str = ""


@dataclass(frozen=True)
class LaunchRequest:
    """All that a new instance gets. ``token`` makes the launch idempotent: the same token is the same instance."""

    token: str
    fleet: str
    slot: int
    image: str  # digest
    artifact: Mapping[str, Any]  # the image record's artifact: what the provider needs to start it
    launch: str  # fingerprint
    nonce: str
    purpose: Purpose = FLEET
    ports: tuple[int, ...] = ()  # guest ports that must be reachable from the controller and the balancer
    authorized_keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # in clear, where the provider hands them over itself
    secret_refs: Mapping[str, str] = field(
        default_factory=dict
    )  # name -> parameter in SSM, which the host fetches itself
    machine: Mapping[str, Any] = field(default_factory=dict)  # the target's own settings (memory, cpus, ...)
    volumes: tuple[str, ...] = ()  # ids of volumes to attach from the start
    tags: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""


class Compute(Protocol):
    """Instances. Raises ProviderError with the provider's own words."""

    def list(self, fleet: str) -> list[Instance]: ...

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]: ...

    def stop(self, ids: Sequence[str]) -> None:
        """Begin an orderly shut-down and return. Each is STOPPING until it is down, then STOPPED. What is down already stays so."""

    def power_off(self, ids: Sequence[str]) -> None:
        """End at once what did not shut down in order. When it returns, nothing of it writes to a volume any more, or it is still STOPPING,
        and its volumes cannot be detached."""

    def start(self, ids: Sequence[str]) -> None:
        """Boot stopped instances again, with the volumes attached to them now."""

    def remove(self, ids: Sequence[str]) -> None:
        """Begin to remove for good, after an orderly shut-down of what still runs, and return.

        Until it is gone it is STOPPING, and ``power_off`` hurries it. Volumes stay. Unknown ids are already removed.
        """

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        """Set tags, or take those away whose value is None. Unknown ids are passed over."""

    def fleets(self) -> Sequence[str]:
        """Names of all fleets and verifications of which there is an instance or a volume."""

    def console(self, instance_id: str) -> str: ...


class Volumes(Protocol):
    def list(self, fleet: str) -> list[Volume]: ...

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]: ...

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        """Refuses a volume that is attached elsewhere."""

    def detach(self, volume_ids: Sequence[str]) -> None:
        """Refuses while an instance that is not STOPPED has the volume."""

    def modify(self, volume_ids: Sequence[str], size: int, kind: str) -> None:
        """Grow detached volumes to ``size`` and change their type to ``kind`` ("" leaves it), data kept. Refuses to shrink."""

    def remove(self, volume_ids: Sequence[str]) -> None: ...


@dataclass(frozen=True)
class Member:
    """An instance as the load balancer sees it."""

    id: str  # instance id
    state: MemberState
    in_flight: int | None  # None where the balancer cannot tell
    since: float  # when it came into this state
    passing: bool = False  # its checks pass, whether or not it gets requests
    leaving: bool = False  # the balancer was told to let go of it and forgets it by itself: nothing is left to be said


class Traffic(Protocol):
    """A load balancer of one fleet. Raises TrafficError."""

    @property
    def shared(self) -> bool:
        """Whether others may have members there too. If so it loses by itself those whose machine is gone."""

    def ensure(self) -> bool:
        """Start or create what is missing. True where something was."""

    def members(self) -> list[Member]: ...

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        """Add members by instance id, or bring draining ones back to service.

        ``staged``: they are checked, but get no request until ``switch``.
        """

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """Put members ``on`` in service and let members ``off`` drain, at once as far as the balancer can."""

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        """No new requests from now on. A balancer that forgets drained members by itself does so after ``timeout`` seconds at most."""

    def deregister(self, ids: Sequence[str]) -> None: ...

    def remove(self) -> None:
        """Take the balancer itself away."""

    def describe(self) -> dict[str, Any]:
        """Plain data for results: at least ``endpoint`` (URL) and ``kind``."""


class Images(Protocol):
    """Artifacts of images, as records name them. Raises ProviderError."""

    def build(self, architecture: str) -> str:
        """What bakes share or differ in, such as ``qemu-x86_64`` or ``aws-123456789012-x86_64``."""

    def present(self, artifact: Mapping[str, Any]) -> bool: ...

    def copy(
        self, artifact: Mapping[str, Any], places: Mapping[str, str], tags: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """The artifact with a copy in each of ``places`` that is ready to be launched from. What is there already is not copied again.

        Args:
            places: regions, each with the key that encrypts the copy there, "" for the account's own.
        """

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:
        """For each artifact all that refers to it at the provider, in words; one bulk look for all of them.

        ``shared``: other accounts that may use it count too, where the provider has accounts.
        """

    def remove(self, artifact: Mapping[str, Any]) -> None:
        """With its copies and what they alone use (snapshots, files). What is gone already is no error."""

    def publish(self, name: str, artifact: Mapping[str, Any], *, check: bool = False) -> Mapping[str, str]:
        """Make the artifact known under ``name`` to other tools, where the provider has a place for that.

        Returns what was changed, or would be where ``check``: by its place in words what stood there before, "" for nothing.
        """


LeftoverKind = Literal["build_instance", "security_group", "key_pair", "build_volume", "image", "snapshot"]


@dataclass(frozen=True)
class Leftover:
    """One thing that a bake left at the provider."""

    kind: LeftoverKind
    id: str
    place: str  # the region
    bake: str  # the name of the lock that a bake of this image holds; "" where it does not say whose it is
    why: str
    age: float | None = None  # seconds, where the provider tells


class Leftovers(Protocol):
    """What killed bakes left behind, at a provider that bakes elsewhere than on this machine. Raises ProviderError."""

    def find(self, older_than: float, owned: Sequence[Mapping[str, Any]]) -> Sequence[Leftover]:
        """Also of bakes that are under way: whoever asks knows which those are.

        Args:
            older_than: seconds; what is younger is passed over.
            owned: artifacts of all records of the store.
        """

    def remove(self, found: Sequence[Leftover], check: Callable[[], None]) -> Sequence[Leftover]:
        """Returns those that went; what is in use by something else stays. ``check`` is called before each changing call."""


class Clock(Protocol):
    def now(self) -> float: ...

    def wait(self, seconds: float) -> None:
        """Return when something may have changed, after ``seconds`` at the latest."""


# Whether instances are healthy: by instance id True, or the reason why the probe failed.
Probe = Callable[[Sequence[Instance]], Mapping[str, "bool | str"]]

# How long to wait until the next observation, in seconds. Arguments: for how many seconds something has been waited
# for, and in how many seconds it is expected (0 where that is not known).
Pace = Callable[[float, float], float]

# The present version of each secret parameter, by the name that was asked for. Raises ProviderError naming every
# parameter that does not exist.
PinSecrets = Callable[[Sequence[str]], Mapping[str, str]]


class Provider(Protocol):
    """One target's provider, found by name through ``_providers/registry``.

    ``probe``, ``pace``, ``leftovers`` and ``pin_secrets`` are optional: a provider that lacks one sets it to None.
    """

    @property
    def name(self) -> str: ...

    @property
    def longest_call(self) -> float:
        """Seconds that a changing call may take where the provider knows: its time-outs and retries. 0 where they are as short as the engine assumes."""

    @property
    def compute(self) -> Compute: ...

    @property
    def volumes(self) -> Volumes: ...

    @property
    def images(self) -> Images: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def probe(self) -> Probe | None:
        """How to probe instances that cannot be reached over a network; None if they are probed directly."""

    @property
    def pace(self) -> Pace | None:
        """How often to observe, if each observation costs calls; None if observing is cheap."""

    @property
    def leftovers(self) -> Leftovers | None:
        """What killed bakes left behind; None if bakes use nothing but this machine."""

    @property
    def pin_secrets(self) -> PinSecrets | None:
        """Looks up the versions of secrets that instances fetch; None if the provider hands over secrets itself."""

    def traffic(self, fleet: str) -> Traffic: ...

    def describe(self) -> dict[str, Any]:
        """Plain data for results, such as ``accelerator`` and ``warnings`` (list of lines)."""
