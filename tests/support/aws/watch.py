# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the promises against the fake account around every changing call. It shares no code with the plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import PREFIX
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.tags import VOLUME_KEY
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import SLOTS, SWAP

from .answers import Answer
from .calls import Call
from .proxy import Proceed
from .server import REGION, Cloud

LIVE = ("pending", "running")


@dataclass(frozen=True)
class Host:
    id: str
    ami: str
    slot: str
    state: str
    swap: int  # serial of the swap that launched it; -1 if unknown
    disks: frozenset[str]


@dataclass(frozen=True)
class FleetState:
    """The real state of the fleet."""

    hosts: Mapping[str, Host]  # all that are not terminated
    registered: frozenset[tuple[str, str]]  # (ARN of a group, instance)
    serving: frozenset[str]
    holders: Mapping[str, str]  # instance by data volume, or ""

    def live(self) -> set[str]:
        return {host.id for host in self.hosts.values() if host.state in LIVE}

    def kept(self) -> set[str]:
        return {host.id for host in self.hosts.values() if host.state != "shutting-down"}


class PromiseWatcher:
    """A layer of the proxy. ``broken_promises`` has one text for each call that broke a promise.

    Args:
        groups: ARNs of the fleet's target groups.
        rule: ARN of the listener whose weights choose the active group; "" if all groups are active.
        intent: reads the document in the store.
    """

    def __init__(
        self, cloud: Cloud, groups: tuple[str, ...], rule: str, intent: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.broken_promises: list[str] = []
        self._cloud, self._groups, self._rule, self._intent = cloud, groups, rule, intent
        self._lock = threading.RLock()
        self._observable_losses: set[str] = set()  # lost instances that the controller can know of

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        if call.action == "DescribeInstances":
            self._observable_losses = set(self._cloud.world.lost)
        if not call.changing or call.service not in ("ec2", "elasticloadbalancing"):
            return proceed(call)
        with self._lock:
            before = self.observe()
            answer = proceed(call)
            if answer.ok:
                self._check(call, before, self.observe())
        return answer

    # The real state.

    def observe(self) -> FleetState:
        world = self._cloud.world
        hosts = {host.id: host for host in map(self._host, self._described()) if host.state != "terminated"}
        registered = self._registered()
        active = self._active_groups()
        serving = {
            name
            for group, name in registered
            if group in active and name in hosts and self._is_healthy(hosts[name], group)
        }
        volumes = [
            volume
            for volume in self._cloud.boto("ec2").describe_volumes()["Volumes"]
            if any(tag["Key"] == VOLUME_KEY for tag in volume.get("Tags", ()))
        ]
        attached = {
            volume["VolumeId"]: volume["Attachments"][0]["InstanceId"] if volume.get("Attachments") else ""
            for volume in volumes
        }
        holders = {volume: world.held.get(volume, (holder, ""))[0] for volume, holder in attached.items()}
        return FleetState(hosts=hosts, registered=registered, serving=frozenset(serving), holders=holders)

    def _described(self) -> list[Mapping[str, Any]]:
        pages = self._cloud.boto("ec2").describe_instances()["Reservations"]
        return [instance for page in pages for instance in page["Instances"]]

    def _registered(self) -> frozenset[tuple[str, str]]:
        elb = self._cloud.boto("elbv2")
        return frozenset(
            (group, target["Target"]["Id"])
            for group in self._groups
            for target in elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        )

    def _host(self, described: Mapping[str, Any]) -> Host:
        tags = {tag["Key"].removeprefix(PREFIX): tag["Value"] for tag in described.get("Tags", ())}
        slots = tags.get(SLOTS, "").split(",")
        index = described.get("AmiLaunchIndex", 0)
        return Host(
            id=described["InstanceId"],
            ami=described["ImageId"],
            slot=slots[index] if index < len(slots) else "?",
            state=self._cloud.world.state(described["InstanceId"], described["State"]["Name"]),
            swap=int(tags.get(SWAP, -1)),
            disks=frozenset(disk["Ebs"]["VolumeId"] for disk in described.get("BlockDeviceMappings", ())),
        )

    def _active_groups(self) -> set[str]:
        if not self._rule:
            return set(self._groups)
        listener = self._cloud.boto("elbv2").describe_listeners(ListenerArns=[self._rule])["Listeners"][0]
        groups = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        return {group["TargetGroupArn"] for group in groups if group["Weight"]}

    def _is_healthy(self, host: Host, group: str) -> bool:
        world = self._cloud.world
        settings = world.settings
        fails = settings.dead & {host.ami, "*"} or not settings.healthy(host.id, group)
        registering = world.within("registered", f"{group} {host.id}", settings.health)
        return host.state == "running" and not fails and not registering

    # The promises.

    def _check(self, call: Call, before: FleetState, after: FleetState) -> None:
        intent = self._intent()
        # The controller is not blamed for an instance that was lost after its last observation.
        unknown_losses = self._cloud.world.lost - self._observable_losses
        lost, serving = before.serving - after.serving, len(after.serving)
        floor = intent["size"] - intent["unavailable"]
        if lost and intent["strategy"] != "recreate" and serving + len(unknown_losses) < floor:
            self._broken(f"floor: {call.action} took {sorted(lost)} and left {serving} of {floor} in service")
        ceiling = intent["size"] + intent["surge"]
        if len(after.live()) > len(before.live()) and len(after.live()) > ceiling:
            self._broken(f"ceiling: after {call.action} {len(after.live())} run of {ceiling}")
        self._check_volumes(call, before, after)
        if intent["stage"] == "forward" and intent["image"] and not unknown_losses:
            self._check_successors(call, intent, before, after)

    def _check_volumes(self, call: Call, before: FleetState, after: FleetState) -> None:
        for volume, holder in before.holders.items():
            host = before.hosts.get(holder)
            if volume not in after.holders:
                self._broken(f"data: {call.action} removed the volume {volume}")
            elif host and after.holders[volume] != holder and host.state != "stopped":
                self._broken(f"one writer: {call.action} took {volume} from {holder}, which is {host.state}")

    def _check_successors(self, call: Call, intent: Mapping[str, Any], before: FleetState, after: FleetState) -> None:
        for name in before.kept() - after.kept():
            host = before.hosts[name]
            others = [before.hosts[other] for other in before.serving - {name}]
            if host.swap < intent["first"] and not any(other.slot == host.slot for other in others):
                self._broken(
                    f"the new one first: {call.action} removed {name} before another instance served slot {host.slot}"
                )

    def _broken(self, promise: str) -> None:
        self.broken_promises.append(promise)

    def assert_settled(self, clock: Any, ami: str, size: int, data: bool) -> None:
        """Assert that each slot runs this AMI and serves, and that the account holds nothing else."""
        clock.wait(60.0)  # what drains or shuts down ends without another call
        state, ec2 = self.observe(), self._cloud.boto("ec2", REGION)
        assert not self.broken_promises, self.broken_promises
        assert sorted((host.slot, host.ami, host.state) for host in state.hosts.values()) == [
            (str(slot), ami, "running") for slot in range(size)
        ]
        assert state.serving == set(state.hosts), state
        assert sorted(name for _group, name in state.registered) == sorted(state.hosts), state
        disks = {disk for host in state.hosts.values() for disk in host.disks}
        assert {volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]} == disks, "a volume is left over"
        assert len(state.holders) == (size if data else 0) and all(state.holders.values())
        # moto keeps the interfaces of terminated instances. AWS deletes them with their instance if they are set so.
        cards = ec2.describe_network_interfaces()["NetworkInterfaces"]
        assert all(card.get("Attachment", {}).get("InstanceId") for card in cards), "a network interface is left over"
