# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A checked definition as frozen data. Durations are in seconds (float), sizes in bytes (int).

The field names are also the keys of ``target_summary`` and ``summary_of``, which results show: do not rename them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ...module_utils._seal_tmpfs import LOG_SIZE
from .._aws.clients import Account
from .._aws.instances import HOP_LIMIT
from .._core.errors import DefinitionError
from .._openstack.cloud import Cloud
from .image_from import ImageFrom
from .probes import Health
from .root_volume import RootVolume

ProviderName = Literal["aws", "container", "openstack", "qemu", "simulated"]
BaseKind = Literal["debian", "qcow2", "url", "container", "archive", "ami", "glance"]
ContainerProgram = Literal["podman", "docker"]
SecretKind = Literal["env", "variable", "ssm"]
Shell = Literal["restricted", "off"]
Engine = Literal["swap", "autoscaling"]
Strategy = Literal["rolling", "blue_green", "canary", "recreate", "reimage"]
Policy = Literal["wait", "ignore", "replace"]  # for instances that are protected or in standby
ProtectedPolicy = Literal["wait", "ignore", "refresh"]  # of an instance refresh, for instances protected from scale-in
StandbyPolicy = Literal["wait", "ignore", "terminate"]  # of an instance refresh
AddressKind = Literal["private", "public"]
EvidenceSource = Literal["console", "bucket", "none"]
ProbeSource = Literal["direct", "balancer"]
ServerGroupPolicy = Literal["anti-affinity", "soft-anti-affinity"]

BASE_KINDS: tuple[BaseKind, ...] = get_args(BaseKind)
SECRET_KINDS: tuple[SecretKind, ...] = get_args(SecretKind)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class Provision:
    """How an image is provisioned. Paths are relative to the definition's folder, with ``/`` as separator."""

    playbook: str
    requirements: str | None = None  # a requirements file of ansible-galaxy
    vars: Mapping[str, Any] = field(default_factory=dict)  # values may be Vaulted
    vars_files: tuple[str, ...] = ()  # whole files or single values may be vaulted
    ansible_core: str | None = None  # pip version specifier of the guest's ansible-core, such as "==2.19.4"


@dataclass(frozen=True)
class Vaulted:
    """Ciphertext of a value tagged ``!vault``. Only an action that has the vault secrets decrypts it."""

    ciphertext: str = field(repr=False)


@dataclass(frozen=True)
class Base:
    """What an image is built on, such as ``{debian: bookworm}`` or ``{ami: ..., python: "3.11"}``."""

    kind: BaseKind
    # The Debian suite; the path of the disk or archive, relative to the definition's folder or absolute; the URL;
    # <registry>/<name>@sha256:<hex>; or a text that ``ami_reference`` or ``glance_reference`` reads.
    source: str
    checksum: str | None = None  # sha256:<hex>; never None for url and archive
    python: str | None = None  # the guest's Python, such as "3.11"


def _without_empty(data: Mapping[str, Any], *later: str) -> dict[str, Any]:
    """Return plain data without those fields of later releases that are empty, as earlier releases wrote it."""
    return {name: value for name, value in data.items() if name not in later or value}


@dataclass(frozen=True)
class DataVolume:
    """A volume that each slot of a fleet owns."""

    name: str
    size: int  # bytes
    mount: str  # absolute path on the host, without a trailing slash
    type: str = ""  # as the provider names it; "" for the provider's default
    owner: str = ""  # "user" or "user:group", by name; "" for the owner of the mount's folder in the image
    reown: bool = False  # whether files follow the owner's uid and gid when an image changes them
    noexec: bool = False  # whether the mount refuses to execute files
    iops: int = 0  # aws: operations per second; 0 for the default of the type
    throughput: int = 0  # aws: MiB per second; 0 for the default of the type
    kms_key: str = ""  # aws: ID, alias or ARN of the key; "" for the account's default key

    def as_dict(self) -> dict[str, Any]:
        """Return plain data. Fields of later releases are left out at their defaults."""
        return _without_empty(asdict(self), "owner", "reown", "noexec", "iops", "throughput", "kms_key")


@dataclass(frozen=True)
class Metric:
    """A number that a command or a URL returns, with its bounds.

    A command without bounds only has to exit with 0.
    """

    command: tuple[str, ...] = ()  # runs in the definition's folder and prints JSON or a bare number
    url: str = ""  # returns JSON or a bare number
    path: str = ""  # of the number in the JSON, such as data.rate or results[0].value; "" for the whole document
    least: float | None = None  # minimum; None for no bound
    most: float | None = None  # maximum; None for no bound
    timeout: float = 10.0  # of one reading
    every: float = 15.0  # between two readings
    headers: tuple[tuple[str, str], ...] = ()  # of the request to the URL
    ca: str = ""  # PEM text of the CAs that the URL's certificate may come from; "" for those of the system

    def as_dict(self) -> dict[str, Any]:
        """Return plain data. Fields of later releases are left out at their defaults."""
        return _without_empty(asdict(self), "headers", "ca")

    @property
    def bounded(self) -> bool:
        """Whether the number has a bound."""
        return self.least is not None or self.most is not None


@dataclass(frozen=True)
class Stage:
    """One stage of a canary: instances on the new image, followed by gates in the order of the fields."""

    instances: int | str  # a count from 1, or a percentage such as "25%"
    soak: float = 0.0  # how long they must stay healthy and in service
    metric: Metric | None = None  # read during the soak and once at its end
    check: str | None = None  # relative path of a playbook that runs after the soak against the stage's hosts
    approval: bool = False  # whether the swap pauses until a later run approves it


@dataclass(frozen=True)
class Window:
    """When new replacements may start. A window whose ``end`` is before its ``start`` ends on the next day."""

    start: int  # minutes since midnight
    end: int  # minutes since midnight
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)  # on which the window starts; 0 is Monday
    timezone: str = "UTC"


@dataclass(frozen=True)
class AutoScaling:
    """How EC2 Auto Scaling refreshes a group. Percentages refer to the group's desired capacity.

    Source: RefreshPreferences in the reference of the EC2 Auto Scaling API.
    """

    group: str
    min_healthy: int = 100
    max_healthy: int = 110
    warmup: float | None = None  # None: the group's default
    checkpoints: tuple[int, ...] = ()  # percentages, increasing to 100
    checkpoint_delay: float = 3600.0
    bake_time: float = 0.0
    alarms: tuple[str, ...] = ()
    auto_rollback: bool = True
    skip_matching: bool = True
    protected: ProtectedPolicy = "wait"
    standby: StandbyPolicy = "wait"
    deadline: float | None = None  # of the whole swap
    drop_user_data: bool = False  # whether the launch document may replace user data of the launch template's own

    def as_dict(self) -> dict[str, Any]:
        """Return plain data. Fields of later releases are left out at their defaults."""
        return _without_empty(asdict(self), "drop_user_data")


@dataclass(frozen=True)
class FleetSpec:
    """The fleet of a target and how it is swapped."""

    size: int = 1
    engine: Engine = "swap"
    autoscaling: AutoScaling | None = None  # set if the engine is autoscaling
    strategy: Strategy = "rolling"
    surge: int | str = 1  # a count from 1, or a percentage such as "25%"
    unavailable: int | str | None = None  # None: 0, or 1 if slots own data volumes
    count_draining: bool = True  # whether draining instances count toward size and surge
    drain_timeout: float = 30.0
    drain_set: bool = False  # whether the definition sets drain_timeout; else a balancer's own delay counts
    stop_timeout: float = 60.0  # after which an instance that does not shut down is powered off
    keep_old: float = 0.0  # blue_green: how long the old fleet stays ready to take the traffic back
    hot: bool = False  # recreate: whether the new host boots and proves its image before the old one stops
    canary: tuple[Stage, ...] = ()
    deadline: float | None = None  # of the whole swap, without its pauses
    max_age: float | None = None  # after which an instance is due for replacement
    protected: Policy = "wait"
    standby: Policy = "wait"
    windows: tuple[Window, ...] = ()  # empty: replacements may start at any time
    alarm: Metric | None = None  # read during the whole swap
    before_swap: str | None = None  # relative path of a playbook
    after_swap: str | None = None  # relative path of a playbook
    playbook_timeout: float = 1800.0  # of before_swap, after_swap and a stage's check


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is found at launch.

    ``env`` is an environment variable of the controller, ``variable`` an Ansible variable, vaulted or not, and
    ``ssm`` an SSM parameter that the instance itself reads.
    """

    kind: SecretKind
    name: str


@dataclass(frozen=True)
class TrafficSpec:
    """The load balancer of a target."""

    bind: str = "127.0.0.1"
    port: int | None = None  # None: a free port is picked once and kept
    target_groups: tuple[str, ...] = ()  # aws: one ARN, or two for a blue_green swap at once
    rule: str = ""  # aws: ARN of the listener or listener rule that forwards to two target groups
    deregistration_delay: float | None = None  # aws: what the swap sets for the target groups; None leaves it alone
    pool: str = ""  # openstack: ID of the Octavia pool; "" for HAProxy on the controller


@dataclass(frozen=True)
class Machine:
    """Launch settings. They are not inputs of the digest."""

    memory: int = 512 * 1024**2  # qemu; container, as a limit, where 0 is none and the default
    cpus: int = 1  # qemu; container, as a limit, where 0 is none and the default
    type: str = ""  # aws; "" for the launch template's type, or t3.micro
    instance_profile: str = ""  # aws; "" for the launch template's, or none
    launch_template: tuple[str, int] | None = None  # aws: ID and version number
    root_size: int = 0  # aws; bytes, 0 for the image's size
    metadata_hop_limit: int = HOP_LIMIT  # aws
    flavor: str = ""  # openstack; ID or name
    server_group: ServerGroupPolicy | None = None  # openstack
    config_drive: bool = True  # openstack


@dataclass(frozen=True)
class Network:
    """Where instances run on AWS and OpenStack. These settings are not inputs of the digest."""

    subnets: Mapping[str, str] = field(default_factory=dict)  # aws: subnet IDs by zone
    security_groups: tuple[str, ...] = ()
    address: AddressKind = "private"  # by which the controller reaches an instance
    # A program and its arguments, with placeholders, whose input and output are the connection to an instance's SSH.
    ssh_proxy: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()  # openstack: IDs or names, in the order of an instance's interfaces
    floating_network: str = ""  # openstack: ID or name; "" if instances get no floating address


@dataclass(frozen=True)
class Build:
    """Settings of the build machine. Only ``plugin`` is an input of the digest."""

    memory: int = 1024**3  # qemu
    cpus: int = 2  # qemu
    timeout: float = 3600.0
    plugin: str | None = None  # the only version of the Packer plugin that may build; None: any version
    region: str = ""  # aws; "" for the target's region
    type: str = "t3.small"  # aws
    subnet: str = ""  # aws; "" for the target's first subnet if it is in the build's region
    ssh_cidrs: tuple[str, ...] = ()  # aws: who may connect to the build machine; empty for Packer's own address
    encrypt: bool = True  # aws
    kms_key: str = ""  # aws; "" for the account's default key
    ssh_username: str = "admin"  # aws and openstack
    options: Mapping[str, Any] = field(default_factory=dict)  # aws and openstack: more options of Packer's builder
    flavor: str = ""  # openstack; ID or name, "" for the instances'
    networks: tuple[str, ...] = ()  # openstack: IDs or names; empty for the instances'
    security_groups: tuple[str, ...] = ()  # openstack: IDs; empty for the instances'
    floating_network: str = ""  # openstack; ID or name, "" for the instances'
    zone: str = ""  # openstack; "" for the target's first
    config_drive: bool = True  # openstack
    volume: RootVolume | None = None  # openstack; None if the root is the disk of the flavor


@dataclass(frozen=True)
class Simulation:
    """How the simulated provider's machines behave. Times are in seconds, probabilities from 0 to 1."""

    boot: float = 30.0
    health: float = 3.0
    check: float = 2.0
    drain: float = 2.0
    stop: float = 5.0
    spread: float = 0.0  # share by which each time can be longer or shorter
    fail_boot: float = 0.0  # probability that a new instance never seals itself
    fail_health: float = 0.0  # probability that a new instance never becomes healthy
    fail_call: float = 0.0  # probability that a changing call fails
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """A target. Its ``fleet``, ``health`` and ``base`` contain the service's values that it does not override."""

    name: str
    provider: ProviderName
    fleet: FleetSpec
    health: Health
    base: Base
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    build: Build = field(default_factory=Build)
    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    authorized_key: str | None = None  # public SSH key; None: the store generates a key pair
    zones: tuple[str, ...] = ()  # the slots are spread over them in turn
    simulation: Simulation = field(default_factory=Simulation)
    aws: Account = field(default_factory=Account)
    openstack: Cloud = field(default_factory=Cloud)
    network: Network = field(default_factory=Network)
    # qemu and container: "host:port" that guests can reach, by the "address:port" at which they see it
    reach: Mapping[str, str] = field(default_factory=dict)
    evidence: EvidenceSource = "console"  # aws, openstack
    identity_certificates: str = ""  # aws: PEM text
    probe: ProbeSource = "direct"  # aws: what decides whether an instance is healthy
    tags: Mapping[str, str] = field(default_factory=dict)  # aws, openstack: on everything created for the target
    snapshots: bool = False  # aws, openstack: whether a data volume is snapshotted when it leaves a host
    engine: ContainerProgram = "podman"  # container
    image_from: ImageFrom | None = None  # aws, openstack; None if the target bakes its own image
    image_users: tuple[Account, ...] = ()  # aws: of all targets whose image comes from the same target as this one's
    image_clouds: tuple[Cloud, ...] = ()  # openstack: the same

    @property
    def bakes_containers(self) -> bool:
        """Whether the target's image is for containers."""
        return self.provider == "container" or self.base.kind in ("container", "archive")

    @property
    def build_account(self) -> Account:
        """The AWS account and region in which the image is baked."""
        if self.image_from:
            return self.image_from.account
        return self.aws.in_region(self.build.region) if self.build.region else self.aws

    @property
    def build_cloud(self) -> Cloud:
        """The OpenStack cloud, with the project, in which the image is baked."""
        return self.image_from.cloud if self.image_from else self.openstack


@dataclass(frozen=True)
class Definition:
    """A checked definition of one service."""

    path: Path  # of the document, absolute
    service: str
    version: str
    provision: Provision
    verify: str | None  # relative path of the playbook that verifies a candidate
    data: tuple[DataVolume, ...]
    writable: tuple[str, ...]
    shell: Shell  # seal.shell
    targets: Mapping[str, Target]
    base: Base
    # Relative paths of all files that any fleet names, whether its strategy uses them or not. Not inputs of a bake.
    swap_files: tuple[str, ...] = ()
    user_namespaces: bool = False  # seal.user_namespaces
    log_size: str = LOG_SIZE  # seal.log_size
    command: tuple[str, ...] = ()  # image.command: the first process of a container; empty for systemd
    user: str = ""  # image.user: "user" or "user:group" of the command, by name; "" for root
    capabilities: tuple[str, ...] = ()  # seal.capabilities, sorted

    @property
    def folder(self) -> Path:
        """The folder that the definition's relative paths start from."""
        return self.path.parent

    def target(self, name: str) -> Target:
        """Return the target ``name``. Raises DefinitionError, which names the known targets."""
        try:
            return self.targets[name]
        except KeyError:
            known = ", ".join(sorted(self.targets))
            raise DefinitionError(f"{self.path}: unknown target {name!r} (the definition has: {known})") from None

    def baking_target(self, name: str) -> Target:
        """Return the target that bakes the image of the target ``name``. Raises DefinitionError for an unknown one."""
        target = self.target(name)
        return self.target(target.image_from.target) if target.image_from else target

    def fleet_name(self, target: str) -> str:
        """The name of the service's fleet on the target named ``target``."""
        return f"{self.service}-{target}"
