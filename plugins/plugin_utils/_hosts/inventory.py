# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""List the instances of a fleet as hosts of an inventory, each with a name, groups and variables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._definition.model import Definition
from .._health.evidence import proves
from .._images.channels import Channels
from .._providers import tags
from .._providers.contract import FLEET, STOPPED, Instance
from .._store.base import Store
from .connection import host_vars, login_ports
from .ssh import write_known_hosts

SEALED, OUTDATED = "sealed", "outdated"


@dataclass(frozen=True)
class Host:
    """A host of an inventory."""

    name: str
    groups: tuple[str, ...]  # unsanitized; an inventory turns them into valid names
    variables: Mapping[str, Any]  # plain data

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "groups": list(self.groups), "variables": dict(self.variables)}


@dataclass(frozen=True)
class HostContext:
    """The fleet that the hosts belong to, and what is needed to reach them."""

    definition: Definition
    target: str
    store: str  # its location
    private_key: Path | None  # None for a key of the user's own
    known_hosts: Path

    @property
    def proxy(self) -> tuple[str, ...]:
        return self.definition.targets[self.target].network.ssh_proxy

    @property
    def fleet(self) -> str:
        return self.definition.fleet_name(self.target)


def list_hosts(
    definition: Definition,
    target: str,
    store: Store,
    instances: Sequence[Instance],
    *,
    channel: str = "",
    due: str = "",
) -> list[Host]:
    """Return the instances of a fleet as hosts, and write their host keys to a file on this machine.

    Args:
        target: name of the target.
        instances: as the provider listed them.
        channel: the channel that points at the image that is due.
        due: digest of the image that is due. It wins over ``channel``.

    Raises StoreError, OSError.
    """
    if not instances:
        return []
    fleet = definition.fleet_name(target)
    known_hosts = store.local_path(f"known_hosts/{fleet}")
    write_known_hosts(known_hosts, instances)
    # If the target has a key of the user's own, or no instance has an SSH server, the store has none.
    keyless = definition.targets[target].authorized_key or not login_ports(definition.targets[target])
    private_key = None if keyless else store.ssh_key(fleet)[0]
    channels = Channels(store).list(definition.service)
    promoted = next((document["image"] for document in channels if document["channel"] == channel), None)
    context = HostContext(
        definition=definition,
        target=target,
        store=store.location,
        private_key=private_key,
        known_hosts=known_hosts,
    )
    return hosts_of(context, instances, channels, due or promoted)


def hosts_of(
    context: HostContext, instances: Iterable[Instance], channels: Sequence[Mapping[str, Any]], due: str | None
) -> list[Host]:
    """Return the hosts by slot. Stopped instances and those that do not belong to the fleet itself are left out.

    Args:
        channels: the channels of the service, each with ``channel`` and ``image``.
        due: digest of the image that the fleet should run. Hosts with another one are outdated. None if it is unknown.
    """
    return [
        Host(name, _groups(context, instance, channels, due), _variables(context, instance))
        for name, instance in names_of(context.fleet, instances)
    ]


def names_of(fleet: str, instances: Iterable[Instance]) -> list[tuple[str, Instance]]:
    """Return each instance that is a host with its name, by slot."""
    present = sorted(
        (each for each in instances if each.state != STOPPED and each.purpose == FLEET),
        key=lambda each: (each.slot, each.created, each.id),
    )
    count: Counter[int] = Counter()
    named = []
    for instance in present:
        count[instance.slot] += 1
        # The name belongs to the slot. During a swap a second instance of the slot has a number appended.
        suffix = f"-{count[instance.slot]}" if count[instance.slot] > 1 else ""
        named.append((f"{fleet}-{instance.slot}{suffix}", instance))
    return named


def _groups(
    context: HostContext, instance: Instance, channels: Sequence[Mapping[str, Any]], due: str | None
) -> tuple[str, ...]:
    groups = [f"service_{context.definition.service}", f"target_{context.target}", f"image_{_image_name(instance)}"]
    groups += [f"channel_{document['channel']}" for document in channels if document["image"] == instance.image]
    if proves(instance) is True:
        groups.append(SEALED)
    if due is not None and instance.image != due:
        groups.append(OUTDATED)
    return (*groups, *(mark for mark in tags.MARKS if mark in instance.tags))


def _variables(context: HostContext, instance: Instance) -> dict[str, Any]:
    return {
        **host_vars(instance, context.private_key, context.known_hosts, context.proxy),
        "immutable_service": context.definition.service,
        "immutable_target": context.target,
        "immutable_fleet": context.fleet,
        "immutable_instance_id": instance.id,
        "immutable_slot": instance.slot,
        "immutable_state": instance.state,
        "immutable_sealed": proves(instance) is True,
        # As the instance was launched: what a guest prints could contain a template.
        "immutable_shell": instance.tags.get(tags.SHELL, ""),
        "immutable_image": instance.image,
        "immutable_image_name": _image_name(instance),
        "immutable_version": instance.tags.get(tags.VERSION, ""),
        "immutable_build": instance.tags.get(tags.BUILD, ""),
        "immutable_launch": instance.launch,
        "immutable_endpoints": {str(port): list(address) for port, address in instance.endpoints.items()},
        "immutable_store": context.store,
        # Without the reasons: users write them, and they could contain a template.
        **{f"immutable_{mark}": mark in instance.tags for mark in tags.MARKS},
    }


def _image_name(instance: Instance) -> str:
    return instance.tags.get(tags.IMAGE_NAME) or instance.image.removeprefix("sha256:")[:12]
