# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds the promises against the cloud's own state around every changing call. It shares no code with the collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    swap: int
    disks: frozenset[str]


@dataclass(frozen=True)
class Seen:
    hosts: Mapping[str, Host]  # all that are not terminated
    registered: frozenset[tuple[str, str]]  # (ARN of a group, instance)
    serving: frozenset[str]
    holders: Mapping[str, str]  # data volume -> instance, or ""

    def live(self) -> set[str]:
        return {each.id for each in self.hosts.values() if each.state in LIVE}

    def staying(self) -> set[str]:
        return {each.id for each in self.hosts.values() if each.state != "shutting-down"}


class Watch:
    """A layer of the proxy. ``broken``: each promise that a call broke, in words."""

    def __init__(
        self, cloud: Cloud, groups: tuple[str, ...], rule: str, intent: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.broken: list[str] = []
        self._cloud, self._groups, self._rule, self._intent = cloud, groups, rule, intent
        self._lock = threading.RLock()
        self._told: set[str] = set()  # lost instances of which the controller could have heard

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        if call.action == "DescribeInstances":
            self._told = set(self._cloud.world.lost)
        if not call.changing or call.service not in ("ec2", "elasticloadbalancing"):
            return proceed(call)
        with self._lock:
            before = self.see()
            answer = proceed(call)
            if answer.ok:
                self._judge(call, before, self.see())
        return answer

    # What is there.

    def see(self) -> Seen:
        ec2, elb, world = self._cloud.boto("ec2"), self._cloud.boto("elbv2"), self._cloud.world
        described = [each for page in ec2.describe_instances()["Reservations"] for each in page["Instances"]]
        hosts = {host.id: host for host in (self._host(each) for each in described) if host.state != "terminated"}
        targets = {
            group: elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
            for group in self._groups
        }
        registered = {(group, each["Target"]["Id"]) for group, found in targets.items() for each in found}
        active = self._active()
        serving = {
            one
            for group, one in registered
            if group in active and one in hosts and self._well(world, hosts[one], group)
        }
        volumes = [
            each
            for each in ec2.describe_volumes()["Volumes"]
            if any(tag["Key"] == "immutable:volume" for tag in each.get("Tags", ()))
        ]
        holders = {
            each["VolumeId"]: each["Attachments"][0]["InstanceId"] if each.get("Attachments") else ""
            for each in volumes
        }
        return Seen(
            hosts,
            frozenset(registered),
            frozenset(serving),
            {one: world.held.get(one, (holder, ""))[0] for one, holder in holders.items()},
        )

    def _host(self, described: Mapping[str, Any]) -> Host:
        tags = {tag["Key"].removeprefix("immutable:"): tag["Value"] for tag in described.get("Tags", ())}
        slots = tags.get("slots", "").split(",")
        index = described.get("AmiLaunchIndex", 0)
        disks = frozenset(disk["Ebs"]["VolumeId"] for disk in described.get("BlockDeviceMappings", ()))
        state = self._cloud.world.state(described["InstanceId"], described["State"]["Name"])
        return Host(
            described["InstanceId"],
            described["ImageId"],
            slots[index] if index < len(slots) else "?",
            state,
            int(tags.get("swap", -1)),
            disks,
        )

    def _active(self) -> set[str]:
        if not self._rule:
            return set(self._groups)
        action = self._cloud.boto("elbv2").describe_listeners(ListenerArns=[self._rule])["Listeners"][0][
            "DefaultActions"
        ][0]
        return {each["TargetGroupArn"] for each in action["ForwardConfig"]["TargetGroups"] if each["Weight"]}

    def _well(self, world: Any, host: Host, group: str) -> bool:
        settings = world.settings
        fails = settings.dead & {host.ami, "*"} or not settings.healthy(host.id, group)
        return (
            host.state == "running"
            and not fails
            and not world.within("registered", f"{group} {host.id}", settings.health)
        )

    # What was promised.

    def _judge(self, call: Call, before: Seen, after: Seen) -> None:
        intent = self._intent()
        size, aim = intent["size"], intent["image"] if intent["stage"] == "forward" else ""
        lost, unheard = (
            before.serving - after.serving,
            self._cloud.world.lost - self._told,
        )  # what died since its last look is nobody's fault
        if (
            lost
            and intent["strategy"] != "recreate"
            and len(after.serving) + len(unheard) < size - intent["unavailable"]
        ):
            self._say(f"floor: {call.action} took {sorted(lost)} and left {len(after.serving)} of {size} in service")
        if len(after.live()) > len(before.live()) and len(after.live()) > size + intent["surge"]:
            self._say(f"ceiling: after {call.action} {len(after.live())} run of {size + intent['surge']}")
        for volume, holder in before.holders.items():
            if volume not in after.holders:
                self._say(f"data: {call.action} removed the volume {volume}")
            elif (
                holder
                and after.holders[volume] != holder
                and before.hosts.get(holder)
                and before.hosts[holder].state != "stopped"
            ):
                self._say(
                    f"one writer: {call.action} took {volume} from {holder}, which is {before.hosts[holder].state}"
                )
        for one in before.staying() - after.staying():
            host = before.hosts[one]
            if (
                aim
                and not unheard
                and host.swap < intent["first"]
                and not any(before.hosts[each].slot == host.slot for each in before.serving - {one})
            ):
                self._say(
                    f"the new one first: {call.action} took {one} of slot {host.slot} before anybody else served there"
                )

    def _say(self, what: str) -> None:
        self.broken.append(what)

    def settled(self, clock: Any, ami: str, size: int, data: bool) -> None:
        """The fleet is whole, on this AMI, in service, and the account holds nothing else."""
        clock.wait(60.0)  # whatever drains or shuts down ends by itself
        seen, ec2 = self.see(), self._cloud.boto("ec2", REGION)
        assert not self.broken, self.broken
        assert sorted((host.slot, host.ami, host.state) for host in seen.hosts.values()) == [
            (str(slot), ami, "running") for slot in range(size)
        ]
        assert seen.serving == set(seen.hosts) and sorted(one for _group, one in seen.registered) == sorted(
            seen.hosts
        ), seen
        disks = {disk for host in seen.hosts.values() for disk in host.disks}
        assert {each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]} == disks, "a volume is left over"
        assert len(seen.holders) == (size if data else 0) and all(seen.holders.values())
        # moto keeps those of instances that ended; AWS deletes them with their instance, where they say so.
        cards = [
            each
            for each in ec2.describe_network_interfaces()["NetworkInterfaces"]
            if each.get("Attachment", {}).get("InstanceId", "") not in seen.hosts
        ]
        assert all(each.get("Attachment", {}).get("InstanceId") for each in cards), "a network interface is left over"
