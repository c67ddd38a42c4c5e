# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rules know about the account in addition to moto: when something began, and the settings of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Boto = Callable[[str, str], Any]  # a client of a service in a region, past the proxy


def serves(instance_id: str, group: str) -> bool:
    return True


@dataclass(frozen=True)
class Settings:
    """How slow and how unreliable the cloud is. Times are in seconds. With all 0, everything is instant, as in moto."""

    launch: float = 0.0  # pending, after RunInstances and StartInstances
    visible: float = 0.0  # until DescribeInstances and DescribeVolumes return a new resource
    stop: float = 0.0  # stopping and shutting-down
    health: float = 0.0  # initial, after a target's registration
    registration: float = 0.0  # initial, before the checks of a Network Load Balancer begin
    drain: float = 0.0  # factor on the deregistration delay of a target group
    console_delay: float = 0.0  # from running to the first console output
    volume: float = 0.0  # creating
    modify: float = 0.0  # of a volume: optimizing, before it is completed
    snapshot: float = 0.0  # pending
    image: float = 0.0  # pending, after CreateImage, CopyImage and RegisterImage
    console: Callable[[str, Mapping[str, Any]], str] | None = (
        None  # (instance id, its tags and "ImageId", "UserData") -> text
    )
    shell: str = "off"  # the shell in the default console's evidence
    host_key: str = ""  # in the default console's evidence
    healthy: Callable[[str, str], bool] = serves  # (instance id, ARN of the target group)
    no_capacity: frozenset[str] = frozenset()  # names of zones
    dead: frozenset[str] = frozenset()  # AMIs whose instances never boot; "*" for all
    doomed: frozenset[str] = frozenset()  # AMIs whose instances terminate while they launch; "*" for all
    tags_kept: float = 3600.0  # on terminated instances
    hung: frozenset[str] = frozenset()  # instances that stop only when forced; "*" for all
    disk: str = ""  # a snapshot with the data of every image; "" for images without data
    denied: tuple[Mapping[str, Any], ...] = ()  # statements of policies that deny: of an organization or of a bucket
    deaf: frozenset[str] = frozenset()  # names of roles whose own policies do not allow the use of any key
    now: Callable[[], float] = time.monotonic


@dataclass
class World:
    boto: Boto
    settings: Settings = field(default_factory=Settings)
    lock: Any = field(default_factory=threading.RLock)
    tokens: dict[tuple[str, str, str], Any] = field(
        default_factory=dict
    )  # (zone or region, action, token) -> (parameters, answer)
    token_locks: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    since: dict[tuple[str, str], float] = field(default_factory=dict)  # (what began, id) -> time
    ending: dict[str, str] = field(default_factory=dict)  # instance -> "stopping" or "shutting-down"
    held: dict[str, tuple[str, str]] = field(default_factory=dict)  # volume -> (instance shutting down, device)
    draining: dict[tuple[str, str, str], float] = field(default_factory=dict)  # (group, target, port) -> when it ends
    modified: dict[str, list[float]] = field(default_factory=dict)  # volume -> when each modification began
    encrypted: set[str] = field(default_factory=set)  # images that are encrypted copies
    architectures: dict[str, str] = field(default_factory=dict)  # of images
    keys: dict[str, str] = field(default_factory=dict)  # ARN of the key, by encrypted snapshot of an image
    lost: set[str] = field(default_factory=set)  # instances that EC2 took back from spot
    protected: dict[str, str] = field(default_factory=dict)  # the attribute that protects an instance, by its id
    died: set[str] = field(default_factory=set)  # instances that terminated while they launched
    object_writes: threading.Lock = field(default_factory=threading.Lock)

    def set(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)

    def began(self, what: str, *ids: str) -> None:
        """Note that ``what`` of these resources begins now."""
        with self.lock:
            self.since.update({(what, one): self.settings.now() for one in ids})

    def within(self, what: str, one: str, seconds: float) -> bool:
        """Whether ``what`` of ``one`` began less than ``seconds`` ago."""
        began = self.since.get((what, one))
        return began is not None and self.settings.now() - began < seconds

    def clear(self) -> None:
        with self.lock:
            for memory in (
                self.tokens,
                self.token_locks,
                self.since,
                self.ending,
                self.held,
                self.draining,
                self.modified,
                self.encrypted,
                self.architectures,
                self.keys,
                self.lost,
                self.died,
                self.protected,
            ):
                memory.clear()
            self.settings = Settings()

    def state(self, instance: str, moto: str) -> str:
        """An instance's state as AWS would report it, from moto's state and the transitions in progress."""
        settings = self.settings
        if instance in self.ending:
            forced = ("forced", instance) in self.since
            hangs = bool(settings.hung & {instance, "*"}) and not forced
            if hangs or self.within("ending", instance, settings.stop):
                return self.ending[instance]
        if (moto == "running" or instance in self.died) and self.within("launch", instance, settings.launch):
            return "pending"
        return moto

    def instances(self, region: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The instances by id, described in one call, with their states as on AWS. Unknown ones are left out."""
        wanted = [one for one in ids if one.startswith("i-")]
        if not wanted:
            return {}
        found = self.boto("ec2", region).describe_instances(Filters=[{"Name": "instance-id", "Values": wanted}])[
            "Reservations"
        ]
        described = {each["InstanceId"]: each for group in found for each in group["Instances"]}
        for one, each in described.items():
            each["State"]["Name"] = self.state(one, each["State"]["Name"])
        return described

    def instance(self, region: str, one: str) -> dict[str, Any]:
        """The described instance, or {} if it is unknown."""
        return self.instances(region, [one]).get(one, {})
