# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every provider implements: plain data and small protocols.

Times are seconds since the epoch (float) of the provider's clock, sizes are bytes.
Every changing call is idempotent: repeated after a lost answer, it changes nothing more.
Reading calls are bulk calls: one for each kind and fleet, never one for each instance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from .bake_leftovers import Leftovers
from .container_address import ContainerAddress
from .ended_instance import EndedInstance
from .root_state import ORIGINAL, RootState
from .volume_options import NO_OPTIONS, VolumeOptions

# What an instance was launched for.
Purpose = Literal["fleet", "verify"]
FLEET: Final = "fleet"
VERIFY: Final = "verify"
USED_FOR: Final = "used_for"  # a tag of the instances of a verification: they end with the run, if the provider can

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

# What a provider reports to a guest about a volume that it created. It reports nothing about other volumes. A guest
# creates a file system only on a blank volume, after it has checked that the volume reads as zeros. It completes on a
# new volume what was interrupted.
VolumeState = Literal["blank", "new"]
BLANK: Final = "blank"  # as far as the provider knows, nothing was ever written to it
NEW: Final = "new"

SSH_PORT = 22  # of every guest that has an SSH server; containers have none


@dataclass(frozen=True)
class Evidence:
    """What a host printed on its console when it sealed itself."""

    digest: str  # "sha256:<hex>", the image's identity
    nonce: str  # of this launch
    host_key: str  # "ssh-ed25519 AAAA...", or "" without sshd
    shell: str  # "restricted" or "off"


@dataclass(frozen=True)
class Instance:
    """One machine as its provider describes it."""

    id: str
    fleet: str  # "<service>-<target>", or the name of a verification
    slot: int  # from 0
    image: str  # the digest it was launched from
    launch: str  # fingerprint of everything it was launched with (image, settings, secrets, machine settings)
    state: InstanceState
    purpose: Purpose
    created: float
    nonce: str
    endpoints: Mapping[int, tuple[str, int]] = field(default_factory=dict)  # guest port -> (address, port) to reach it
    evidence: Evidence | None = None  # None until it sealed itself in its present boot
    tags: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0  # when its present boot began
    stopping_since: float = 0.0  # when it was asked to stop; only while STOPPING
    awaits_removal: bool = False  # only while STOPPING: it is down, and another ``remove`` completes its removal
    zone: str = ""  # "" if the provider has no zones
    container: ContainerAddress | None = None  # None for machines, which are reached over the network
    stop_reason: str = ""  # why it stopped, in the provider's words; "" if the provider does not say
    root: RootState = ORIGINAL


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
    kind: str = ""  # the provider's name of its type ("gp3", "qcow2"); "" if the provider has only one type
    options: VolumeOptions = NO_OPTIONS
    zone: str = ""  # "" if the provider has no zones
    created_blank: bool = False  # as the provider's tags say; always False where it keeps that elsewhere


@dataclass(frozen=True)
class VolumeRequest:
    """What a new data volume is created with."""

    fleet: str
    slot: int
    name: str
    size: int
    mount: str
    kind: str = ""  # "" for the provider's default
    options: VolumeOptions = NO_OPTIONS
    zone: str = ""


@dataclass(frozen=True)
class LaunchRequest:
    """What a new instance is launched with. ``token`` makes the launch idempotent: one token is one instance."""

    token: str
    fleet: str
    slot: int
    image: str  # digest
    artifact: Mapping[str, Any]  # of the image's record: what the provider needs to start it
    launch: str  # fingerprint
    nonce: str
    purpose: Purpose = FLEET
    ports: tuple[int, ...] = ()  # guest ports that the controller and the balancer must be able to reach
    authorized_keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    # In clear text, if the provider itself hands over secrets.
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Name -> parameter in SSM, which the host fetches itself.
    secret_refs: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)  # the target's own settings (memory, cpus, ...)
    volumes: tuple[str, ...] = ()  # ids of volumes to attach from the start
    tags: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""


class Compute(Protocol):
    """Instances. Raises ProviderError with the provider's own words."""

    def list(self, fleet: str) -> list[Instance]:
        """All instances of the fleet."""

    def ended(self, fleet: str) -> Sequence[EndedInstance]:
        """What the last ``list`` showed of instances that died at launch and no longer exist. Makes no call."""

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        """Refuse settings, as in ``LaunchRequest``, whose instances could not be stopped or removed. Only reads."""

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        """Launch one instance for each request."""

    def stop(self, ids: Sequence[str]) -> None:
        """Begin an orderly shutdown and return. An instance is STOPPING until it is down, then STOPPED.

        An instance that is already down stays STOPPED.
        """

    def power_off(self, ids: Sequence[str]) -> None:
        """End instances at once that did not shut down in time.

        When it returns, an instance can no longer write to a volume, or it is still STOPPING and its volumes cannot be
        detached.
        """

    def start(self, ids: Sequence[str]) -> None:
        """Boot stopped instances again, with the volumes that are attached to them now."""

    def remove(self, ids: Sequence[str]) -> None:
        """Begin to remove instances permanently and return. Running instances shut down in order first.

        Until it is removed an instance is STOPPING, and ``power_off`` ends it at once. A provider that cannot remove it
        by itself once it is down lets it await another call. Volumes stay. An unknown id counts as removed.
        """

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        """Set tags; a value of None removes the tag. Unknown ids are ignored."""

    def fleets(self) -> Sequence[str]:
        """Names of all fleets and verifications that have an instance or a volume."""

    def console(self, instance_id: str) -> str:
        """The text on the instance's console."""


class Reimager(Protocol):
    """Replaces the root of instances, which keep their identity, addresses and volumes. Raises ProviderError."""

    @property
    def replaces_in(self) -> InstanceState:
        """The state in which an instance's root can be replaced: RUNNING or STOPPED."""

    def check(self, instances: Sequence[Instance], wanted: Sequence[LaunchRequest]) -> None:
        """Refuse what the instances cannot run without a launch. Tokens, slots and nonces are ignored. Only reads."""

    def reimage(self, requests: Mapping[str, LaunchRequest]) -> None:
        """Boot instances, by id, from another image, and keep the root that each had.

        An instance counts as new: it gets the tags of its request, and loses the marks that people or other modules
        set. It is PENDING until it seals itself again. An unknown id is ignored.
        """

    def release(self, ids: Sequence[str]) -> None:
        """Delete the roots that are kept of these instances."""


class Volumes(Protocol):
    """Data volumes. Raises ProviderError with the provider's own words."""

    def list(self, fleet: str) -> list[Volume]:
        """All volumes of the fleet."""

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        """Create one volume for each request."""

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        """Refuses a volume that is attached to another instance."""

    def detach(self, volume_ids: Sequence[str]) -> None:
        """Refuses a volume that is attached to an instance that is not STOPPED."""

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        """Grow detached volumes to ``size``, never shrink them, change type ("" keeps it) and options. Data is kept."""

    def remove(self, volume_ids: Sequence[str]) -> None:
        """Delete volumes with their data."""


@dataclass(frozen=True)
class Member:
    """An instance as the load balancer sees it."""

    id: str  # instance id
    state: MemberState
    in_flight: int | None  # None if the balancer does not say
    since: float  # when it came into this state
    passing: bool = False  # its checks pass, whether or not it gets requests
    leaving: bool = False  # deregistered: the balancer removes it by itself, and no further call is needed


class Traffic(Protocol):
    """The load balancer of one fleet. Raises TrafficError."""

    @property
    def shared(self) -> bool:
        """Whether it may also have members of others. If so, it removes members without a machine by itself."""

    def ensure(self) -> bool:
        """Start or create what is missing. Returns whether something was missing."""

    def check_deadline(self, deadline: float) -> None:
        """Refuse a health deadline, in seconds, within which the balancer may put no healthy member in service."""

    def members(self) -> list[Member]:
        """All members of this fleet."""

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        """Add members, with their address and port by instance id, or bring draining ones back into service.

        ``staged``: they are checked, but get no request until ``switch``.
        """

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """Put members ``on`` in service and drain members ``off``, at the same time as far as the balancer can."""

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        """Send members no new requests. The engine stops them after ``timeout`` seconds."""

    def drain_time(self) -> float | None:
        """Seconds that the balancer itself gives a drained member to finish its requests; None if it sets no limit."""

    def deregister(self, ids: Sequence[str]) -> None:
        """Remove members."""

    def remove(self) -> None:
        """Remove the balancer itself."""

    def describe(self) -> dict[str, Any]:
        """Plain data for results: at least ``endpoint`` (URL) and ``kind``."""


class Images(Protocol):
    """Artifacts of images, as records name them. Raises ProviderError."""

    def build(self, architecture: str) -> str:
        """What targets must have in common to share images: ``qemu-x86_64``, ``aws-123456789012-x86_64``."""

    def present(self, artifact: Mapping[str, Any]) -> bool:
        """Whether the artifact exists."""

    def copy(
        self, artifact: Mapping[str, Any], places: Mapping[str, str], tags: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """The artifact with a copy in each of ``places`` that is ready to be launched. Existing copies are reused.

        Args:
            places: by region, the key that encrypts the copy there, "" for the account's default.
        """

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:
        """For each artifact a description of everything at the provider that refers to it, from bulk calls for all.

        Args:
            shared: other accounts that may use it count too, if the provider has accounts.
        """

    def remove(self, artifact: Mapping[str, Any]) -> None:
        """Remove it with its copies and what only they use (snapshots, files). A missing artifact is no error."""

    def remove_copies(self, needed: Collection[str], *, check: bool = False) -> Sequence[str]:
        """Remove this machine's own copies, apart from ``needed`` and what runs. Returns a description of each."""

    def publish(self, name: str, artifact: Mapping[str, Any], *, check: bool = False) -> Mapping[str, str]:
        """Make the artifact known under ``name`` to other tools, if the provider has a place for that.

        Args:
            check: change nothing.

        Returns what was changed, or would be: by a description of the place, what it contained before, "" for nothing.
        """


class Clock(Protocol):
    def now(self) -> float:
        """The time in seconds."""

    def wait(self, seconds: float) -> None:
        """Return when something may have changed, after ``seconds`` at the latest."""


# Whether instances are healthy: by instance id True, or the reason why the probe failed.
Probe = Callable[[Sequence[Instance]], Mapping[str, "bool | str"]]

# How long to wait until the next observation, in seconds. Arguments: for how many seconds something has been waited
# for, and in how many seconds it is expected (0 if that is not known).
Pace = Callable[[float, float], float]

# The present version of each secret parameter, by its requested name. Raises ProviderError with all that are missing.
PinSecrets = Callable[[Sequence[str]], Mapping[str, str]]


class Provider(Protocol):
    """One target's provider, found by name through ``_providers/registry``. An ability that it lacks is None."""

    @property
    def name(self) -> str:
        """As the registry names it."""

    @property
    def longest_call(self) -> float:
        """Seconds that one changing call can take, with retries. 0 if the engine's default is enough."""

    @property
    def compute(self) -> Compute:
        """The instances."""

    @property
    def volumes(self) -> Volumes:
        """The data volumes."""

    @property
    def images(self) -> Images:
        """The artifacts of images."""

    @property
    def clock(self) -> Clock:
        """The clock that the provider and its users wait by."""

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
        """Looks up the versions of secrets that instances fetch; None if the provider itself hands over secrets."""

    @property
    def prove_again(self) -> Callable[[], None] | None:
        """Lets the next look read the evidence of every host again; None if a host cannot reboot unnoticed."""

    @property
    def reimager(self) -> Reimager | None:
        """Replaces the root of instances; None if an instance keeps the image that it was launched from."""

    def traffic(self, fleet: str) -> Traffic:
        """The load balancer of the fleet."""

    def describe(self, fleet: str) -> dict[str, Any]:
        """Plain data for the results of a fleet, such as ``accelerator`` and ``warnings`` (list of lines)."""
