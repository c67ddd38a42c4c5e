# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Results for a group that Auto Scaling refreshes, in the shapes of a fleet's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._core.errors import FleetError
from ..._core.progress import Report
from ..._core.units import iso
from ..._definition.fleet import AUTOSCALING
from ..._definition.model import AutoScaling, Definition, Target
from ..._health.evidence import proves
from ..._image_model import Image, every_ami
from ..._images.catalogue import Catalogue
from ..._images.channels import Channels
from ..._providers import tags
from ..._providers.contract import FLEET, PENDING, RUNNING, SSH_PORT, STOPPED, STOPPING, Instance
from ..._providers.group import AutoScalingGroup as Scaling
from ..._providers.group import Group, GroupMachine, GroupMember, Refresh
from ..._store.base import Store
from .decide import IN_STANDBY, GroupSnapshot, left_alone

LINE_EVERY = 60.0  # seconds between two lines about a refresh that does not change


@dataclass(frozen=True)
class GroupInstance:
    """An instance with its number in the group. Auto Scaling has no slots; the oldest is 0."""

    slot: int
    member: GroupMember
    machine: GroupMachine | None  # None where EC2 does not list it (yet)
    image: Image | None  # None where its AMI is none of the store's


def group_instances(group: Group, machines: Sequence[GroupMachine], images: Mapping[str, Image]) -> list[GroupInstance]:
    """``images``: by AMI."""
    known = {machine.id: machine for machine in machines}
    launched = {member.id: known[member.id].launched for member in group.members if member.id in known}
    members = sorted(group.members, key=lambda member: (launched.get(member.id, float("inf")), member.id))
    instances = []
    for slot, member in enumerate(members):
        machine = known.get(member.id)
        instances.append(GroupInstance(slot, member, machine, images.get(machine.image) if machine else None))
    return instances


def images_by_ami(store: Store, service: str) -> dict[str, Image]:
    found: dict[str, Image] = {}
    for image in reversed(Catalogue(store).list(service)):
        found.update(dict.fromkeys(every_ami(image.artifact), image))
    return found


def instance_dict(instance: GroupInstance, snapshot: GroupSnapshot | None, spec: AutoScaling) -> dict[str, Any]:
    """The same keys as ``swap.result.instance_dict``. ``in_flight`` is not known.

    ``snapshot``: None if it is not known what the group is to launch.
    """
    member, machine = instance.member, instance.machine
    problem = "" if member.serving else f"{member.state}, {'healthy' if member.healthy else 'unhealthy'}"
    seal = seal_of(instance)
    return {
        "id": member.id,
        "slot": instance.slot,
        "image": instance.image.digest if instance.image else None,
        "image_name": instance.image.name if instance.image else (machine.image if machine else None),
        "launch": str(member.template) if member.template else None,
        "state": _state(member),
        "sealed": None if seal is None else seal is True,
        "healthy": member.healthy,
        "problem": problem or (seal if isinstance(seal, str) else ""),
        "traffic": None,
        "in_flight": None,
        "serving": member.serving,
        "outdated": snapshot is not None and not member.leaving and member.template != snapshot.wanted.template,
        "left_alone": left_alone(member, spec),
        "address": machine.address or None if machine else None,
        "port": None,
        "volumes": [],
        "zone": member.zone or None,
        "tainted": None,
        "protected": "protected from scaling in" if member.protected else None,
        "standby": "in standby" if member.state in IN_STANDBY else None,
        "created": iso(machine.launched) if machine else None,
    }


def seal_of(instance: GroupInstance) -> bool | str | None:
    """True if the instance has proven that it sealed itself, else the reason why not.

    None if it cannot: it is not running, or it was launched without a launch document.
    """
    machine = instance.machine
    if machine is None or machine.state != RUNNING or tags.NONCE not in machine.tags or instance.member.leaving:
        return None
    return proves(_as_host(instance, machine, "", ()))


def _state(member: GroupMember) -> str:
    if member.leaving:
        return STOPPING
    return PENDING if member.state.startswith("Pending") else STOPPED if member.state == "Warmed:Stopped" else RUNNING


def as_hosts(instances: Sequence[GroupInstance], fleet: str, ports: Sequence[int]) -> list[Instance]:
    """The running instances, as hosts that a playbook or an inventory can reach."""
    return [
        _as_host(instance, instance.machine, fleet, ports)
        for instance in instances
        if instance.machine and instance.machine.state != STOPPED and not instance.member.leaving
    ]


def _as_host(instance: GroupInstance, machine: GroupMachine, fleet: str, ports: Sequence[int]) -> Instance:
    image, address = instance.image, machine.address
    return Instance(
        id=machine.id,
        fleet=fleet,
        slot=instance.slot,
        image=image.digest if image else machine.tags.get(tags.IMAGE, ""),
        launch=str(instance.member.template or ""),
        state=machine.state,
        purpose=FLEET,
        created=machine.launched,
        nonce=machine.tags.get(tags.NONCE, ""),
        endpoints={port: (address, port) for port in dict.fromkeys([SSH_PORT, *ports])} if address else {},
        evidence=machine.evidence,
        tags={**machine.tags, **({tags.IMAGE_NAME: image.name} if image else {})},
        zone=machine.zone,
    )


def refresh_dict(refresh: Refresh | None) -> dict[str, Any] | None:
    if refresh is None:
        return None
    return {
        "id": refresh.id,
        "status": refresh.status,
        "reason": refresh.reason or None,
        "percent": refresh.percent,
        "instances_left": refresh.remaining,
        "launch": str(refresh.template) if refresh.template else None,
        "started": iso(refresh.started) if refresh.started else None,
        "ended": iso(refresh.ended) if refresh.ended else None,
    }


def group_hosts(definition: Definition, target: Target, store: Store, scaling: Scaling) -> list[Instance]:
    images = images_by_ami(store, definition.service)
    return as_hosts(
        group_instances(scaling.group(), scaling.machines(), images),
        definition.fleet_name(target.name),
        target.health.ports,
    )


def group_info(
    definition: Definition, target: Target, store: Store, scaling: Scaling, channel: str
) -> tuple[dict[str, Any], list[Instance]]:
    """The result of ``fleet_info`` for the group, and its instances as hosts."""
    group, refreshes = scaling.group(), scaling.refreshes()
    promoted = Channels(store).current(definition.service, channel)
    due = promoted["image"] if promoted else None
    instances = group_instances(group, scaling.machines(), images_by_ami(store, definition.service))
    dicts = [instance_dict(instance, None, spec_of(target)) for instance in instances]
    info = {
        "image": due,
        "image_name": promoted["name"] if promoted else None,
        "size": group.size,
        "serving": sum(each["serving"] for each in dicts),
        "instances": [{**each, "outdated": bool(due) and each["image"] != due} for each in dicts],
        "volumes": [],
        "endpoint": None,
        "traffic": {},
        "orphans": [],
        "group": group.name,
        "launch": str(group.template),
        "refresh": refresh_dict(next(iter(refreshes), None)),
        "provider": target.provider,
    }
    return info, as_hosts(instances, definition.fleet_name(target.name), target.health.ports)


def group_diff(before: Sequence[Mapping[str, Any]], image: Image) -> dict[str, str]:
    """The diff of a refresh. Auto Scaling names new instances when it launches them, so only their number is known.

    ``before``: the instances as dicts.
    """
    staying = [each for each in before if each["state"] != STOPPING]
    old = "".join(f"instance {number}: {each['image_name']}\n" for number, each in enumerate(staying))
    new = "".join(
        f"instance {number}: {each['image_name'] if each['left_alone'] else image.name}\n"
        for number, each in enumerate(staying)
    )
    return {"before": old, "after": new}


def refuse_group(target: Target, what: str) -> None:
    """Raises FleetError where the instances are Auto Scaling's."""
    if target.fleet.engine == AUTOSCALING:
        raise FleetError(
            f"{what} is not for target {target.name}, whose engine is autoscaling: its instances belong to its group"
        )


def spec_of(target: Target) -> AutoScaling:
    """Raises FleetError for a target whose instances Auto Scaling does not replace."""
    if target.fleet.autoscaling is None:
        raise FleetError(f"target {target.name} has no fleet.autoscaling")
    return target.fleet.autoscaling


class RefreshTimeline:
    """What happened in a refresh, as data and as lines."""

    def __init__(self, report: Report, began: float) -> None:
        self.entries: list[dict[str, Any]] = []
        self.lowest: int | None = None  # in service, over all observations
        self.peak = 0  # instances at the same time
        self._report = report
        self._began = began
        self._reported: tuple[str, float] = ("", 0.0)  # the last line about a wait, and when

    def observe(self, group: Group) -> None:
        serving = sum(member.serving for member in group.members)
        self.lowest = serving if self.lowest is None else min(self.lowest, serving)
        self.peak = max(self.peak, sum(not member.leaving for member in group.members))

    def add(self, event: str, at: float) -> None:
        seconds = round(at - self._began, 1)
        self.entries.append({"at": iso(at), "seconds": seconds, "event": event, "slot": None, "instance": None})
        self._report(f"{seconds:7.1f} s  {event}")

    def watches(self, refresh: Refresh | None, reason: str, at: float) -> None:
        """Report a line when something changes, and at intervals while nothing does."""
        state = (
            f"{refresh.status}, {refresh.percent} %, {refresh.remaining} instances left"
            if refresh
            else "not listed yet"
        )
        line = f"waiting: {reason} ({state})" + (f": {refresh.reason}" if refresh and refresh.reason else "")
        reported, reported_at = self._reported
        if line != reported or at - reported_at >= LINE_EVERY:
            self._reported = (line, at)
            self._report(f"{at - self._began:7.1f} s  {line}")

    def as_dict(self) -> dict[str, Any]:
        """For results and records."""
        return {"timeline": self.entries, "lowest_in_service": self.lowest, "peak": self.peak}
