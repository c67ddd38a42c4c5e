# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A checked definition as frozen data. Durations are seconds (float), sizes are bytes (int)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .._aws.clients import Account
from .._core.errors import DefinitionError

BaseKind = Literal["debian", "qcow2", "url", "ami"]
BASE_KINDS: tuple[BaseKind, ...] = get_args(BaseKind)


@dataclass(frozen=True)
class Provision:
    playbook: str  # relative to the definition's folder, with / as separator
    requirements: str | None = None  # an ansible-galaxy requirements file, relative likewise
    vars: Mapping[str, Any] = field(default_factory=dict)  # may hold Vaulted values
    vars_files: tuple[str, ...] = ()  # relative; may be vaulted, wholly or by value
    ansible_core: str | None = None  # a pip version specifier for the ansible-core used in the guest ("==2.19.4")


@dataclass(frozen=True)
class Vaulted:
    """A value tagged ``!vault`` in the definition: ciphertext, decrypted only by an action that was given vault secrets."""

    ciphertext: str = field(repr=False)


@dataclass(frozen=True)
class Base:
    """``{debian: bookworm}``, ``{qcow2: path, python: "3.11"}``, ``{url: ..., checksum: sha256:..., python: "3.11"}`` or ``{ami: ..., python: "3.11"}``."""

    kind: BaseKind
    source: (
        str  # suite, path relative to the definition's folder (or absolute), URL; for ami as ``ami_reference`` reads it
    )
    checksum: str | None = None  # sha256:<hex>; always given for url
    python: str | None = None  # the guest's Python, "3.11"; known for debian suites


@dataclass(frozen=True)
class DataVolume:
    name: str
    size: int
    mount: str
    type: str = ""  # the provider's word; "" for its default


@dataclass(frozen=True)
class HttpProbe:
    port: int
    path: str = "/"
    status: tuple[int, ...] = (200,)


@dataclass(frozen=True)
class TcpProbe:
    port: int


@dataclass(frozen=True)
class Health:
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    timeout: float = 5.0  # of one probe
    boot_deadline: float = 300.0  # from launch to the sealed evidence
    deadline: float = 120.0  # from there (or from its volumes' attachment) to the first passing probe

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that is probed, each once."""
        return tuple(dict.fromkeys(probe.port for probe in (self.http, self.tcp) if probe))

    @property
    def port(self) -> int:
        """The instance's port that takes traffic: the http probe's, else the tcp probe's (the schema wants at least one)."""
        probe = self.http or self.tcp
        if probe is None:  # the schema wants one of them
            raise DefinitionError("health: http or tcp is needed")
        return probe.port


@dataclass(frozen=True)
class Metric:
    """A number read from outside, by a command or from a URL, and what it may be. A command without bounds only has to end with 0."""

    command: tuple[str, ...] = ()  # run in the definition's folder; it prints JSON, or a bare number
    url: str = ""  # answers with JSON, or a bare number
    path: str = ""  # where in the JSON the number stands, such as data.rate or results[0].value; "" for the whole
    least: float | None = None
    most: float | None = None
    timeout: float = 10.0
    every: float = 15.0  # between two readings

    @property
    def bounded(self) -> bool:
        return self.least is not None or self.most is not None


@dataclass(frozen=True)
class Stage:
    """One step of a canary: so many instances on the new image, then all gates, in this order."""

    instances: int | str  # a count from 1, or "25%"
    soak: float = 0.0  # how long they must serve well
    metric: Metric | None = None  # read while they soak, and once at its end
    check: str | None = None  # relative path of a playbook, run after the soak against the stage's hosts
    approval: bool = False  # the swap pauses until a later run approves


@dataclass(frozen=True)
class Window:
    """When new replacements may be begun. ``end`` before ``start`` goes over midnight."""

    start: int  # minutes since midnight
    end: int
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)  # of ``start``; 0 is Monday
    timezone: str = "UTC"


@dataclass(frozen=True)
class AutoScaling:
    """How EC2 Auto Scaling refreshes a group. Percentages are of the group's desired capacity."""

    group: str
    min_healthy: int = 100
    max_healthy: int = 110
    warmup: float | None = None  # None: the group's own
    checkpoints: tuple[int, ...] = ()
    checkpoint_delay: float = 3600.0
    bake_time: float = 0.0
    alarms: tuple[str, ...] = ()
    auto_rollback: bool = True
    skip_matching: bool = True
    protected: str = "wait"  # wait | ignore | refresh
    standby: str = "wait"  # wait | ignore | terminate
    deadline: float | None = None


@dataclass(frozen=True)
class FleetSpec:
    size: int = 1
    engine: str = "swap"  # swap | autoscaling
    autoscaling: AutoScaling | None = None  # only with that engine
    strategy: str = "rolling"  # rolling | blue_green | canary | recreate
    surge: int | str = 1  # a count from 1, or "25%"
    unavailable: int | str | None = None  # None: 0, or 1 where slots own data volumes
    count_draining: bool = True  # whether draining instances take a place under the ceiling
    drain_timeout: float = 30.0
    stop_timeout: float = 60.0  # how long an instance may take to shut down before it is powered off
    keep_old: float = 0.0  # blue_green: how long the old fleet stays warm
    hot: bool = False  # recreate: the new host boots and proves itself first
    canary: tuple[Stage, ...] = ()
    deadline: float | None = None  # of the whole swap, its pauses left out
    max_age: float | None = None  # of a host
    protected: str = "wait"  # wait | ignore | replace
    standby: str = "wait"  # likewise
    windows: tuple[Window, ...] = ()
    alarm: Metric | None = None  # read all through a swap
    before_swap: str | None = None  # relative path of a playbook
    after_swap: str | None = None
    playbook_timeout: float = 1800.0  # of before_swap, after_swap and a stage's check


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is found at launch: ``env`` (an environment variable of the controller), ``variable`` (an Ansible variable, vaulted or not)
    or ``ssm`` (an SSM parameter that the instance itself reads)."""

    kind: str
    name: str


@dataclass(frozen=True)
class TrafficSpec:
    bind: str = "127.0.0.1"
    port: int | None = None  # None: a free one is picked once and kept
    target_groups: tuple[str, ...] = ()  # aws: one ARN, or two where a whole fleet is flipped
    rule: str = ""  # aws: ARN of the listener, or of its rule, that forwards to two groups


@dataclass(frozen=True)
class Machine:
    """Launch settings, out of the digest."""

    memory: int = 512 * 1024**2  # qemu, as cpus
    cpus: int = 1
    type: str = ""  # aws, as all that follow; "" for the launch template's, or t3.micro
    instance_profile: str = ""
    launch_template: tuple[str, int] | None = None  # id and number of its version
    root_size: int = 0  # bytes; 0 for the image's


@dataclass(frozen=True)
class Network:
    """Where instances on AWS are, out of the digest."""

    subnets: Mapping[str, str] = field(default_factory=dict)  # by zone
    security_groups: tuple[str, ...] = ()
    address: str = "private"  # private | public: by which of its addresses an instance is reached from here


@dataclass(frozen=True)
class Build:
    """Settings for the build machine, out of the digest but for ``plugin``."""

    memory: int = 1024**3
    cpus: int = 2
    timeout: float = 3600.0
    plugin: str | None = None  # the one version of Packer's qemu or amazon plugin that may build the image; None: any
    region: str = ""  # aws, as all that follow; "" for the target's
    type: str = "t3.small"
    subnet: str = ""
    encrypt: bool = True
    kms_key: str = ""
    ssh_username: str = "admin"
    options: Mapping[str, Any] = field(default_factory=dict)  # of Packer's amazon-ebs


@dataclass(frozen=True)
class Simulation:
    """How the simulated provider's machines fare. Seconds, and chances from 0 to 1."""

    boot: float = 30.0
    health: float = 3.0
    check: float = 2.0
    drain: float = 2.0
    stop: float = 5.0
    spread: float = 0.0  # each latency varies by up to this share of it
    fail_boot: float = 0.0  # chance that a new instance never seals itself
    fail_health: float = 0.0  # chance that it never gets healthy
    fail_call: float = 0.0  # chance that a changing call fails
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """A target with everything it overrides already merged in (``fleet``, ``health``)."""

    name: str
    provider: str
    fleet: FleetSpec
    health: Health
    base: Base
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    build: Build = field(default_factory=Build)
    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    authorized_key: str | None = None  # public key; None: a pair of the store's own is made
    zones: tuple[str, ...] = ()  # slots are spread over them in turn
    simulation: Simulation = field(default_factory=Simulation)
    aws: Account = field(default_factory=Account)
    network: Network = field(default_factory=Network)
    evidence: str = "console"  # aws: console | none
    probe: str = "direct"  # aws: direct | balancer: who says whether an instance is well
    snapshots: bool = False  # aws: of data volumes, each time they leave a stopped host

    @property
    def build_account(self) -> Account:
        """Where on AWS the image is baked, and as whom."""
        return self.aws.in_region(self.build.region) if self.build.region else self.aws


@dataclass(frozen=True)
class Definition:
    path: Path  # of the document itself, absolute
    service: str
    version: str
    provision: Provision
    verify: str | None  # relative path of the verify playbook
    data: tuple[DataVolume, ...]
    writable: tuple[str, ...]
    shell: str  # seal.shell: restricted | off
    targets: Mapping[str, Target]
    base: Base
    swap_files: tuple[
        str, ...
    ] = ()  # relative paths of all that any fleet names, used by its strategy or not: no input of a bake

    @property
    def folder(self) -> Path:
        return self.path.parent

    def target(self, name: str) -> Target:
        """Raises DefinitionError naming the known targets."""
        from .._core.errors import DefinitionError

        try:
            return self.targets[name]
        except KeyError:
            known = ", ".join(sorted(self.targets))
            raise DefinitionError(f"{self.path}: unknown target {name!r} (the definition has: {known})") from None

    def fleet_name(self, target: str) -> str:
        return f"{self.service}-{target}"
