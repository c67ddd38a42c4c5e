# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The instances of a fleet as hosts of an inventory: a name for each, its groups and its variables."""

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
from .ssh import host_vars, write_known_hosts

SEALED, OUTDATED = "sealed", "outdated"


@dataclass(frozen=True)
class Host:
    name: str
    groups: tuple[str, ...]  # as they are; an inventory makes safe names of them
    variables: Mapping[str, Any]  # plain data

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "groups": list(self.groups), "variables": dict(self.variables)}


@dataclass(frozen=True)
class HostContext:
    """Whose instances they are, and what is needed to reach them."""

    definition: Definition
    target: str
    store: str  # its location
    private_key: Path | None
    known_hosts: Path

    @property
    def fleet(self) -> str:
        return self.definition.fleet_name(self.target)


def list_hosts(
    definition: Definition, target: str, store: Store, instances: Sequence[Instance], channel: str = "", due: str = ""
) -> list[Host]:
    """The hosts of the fleet of ``definition`` on ``target``, whose ``instances`` its provider listed.

    Writes the host keys that they told to a file of this machine. The image that they should run is ``due``, a digest, or else the one that ``channel``
    points at. Raises StoreError, OSError.
    """
    if not instances:
        return []
    fleet = definition.fleet_name(target)
    known_hosts = store.local(f"known_hosts/{fleet}")
    write_known_hosts(known_hosts, instances)
    # A target with a key of the user's own has none in the store.
    private_key = None if definition.targets[target].authorized_key else store.ssh_key(fleet)[0]
    channels = Channels(store).list(definition.service)
    promoted = next((each["image"] for each in channels if each["channel"] == channel), None)
    return hosts_of(
        HostContext(definition, target, store.location, private_key, known_hosts), instances, channels, due or promoted
    )


def hosts_of(
    place: HostContext, instances: Iterable[Instance], channels: Sequence[Mapping[str, Any]], due: str | None
) -> list[Host]:
    """Hosts by slot. Instances that are stopped or not in the fleet's service are left out.

    Args:
        channels: the service's channels, each with ``channel`` and ``image``.
        due: digest of the image that the fleet should run; what runs another is outdated. None where it is not known.
    """
    return [
        Host(name, _groups(place, each, channels, due), _variables(place, each))
        for name, each in names_of(place.fleet, instances)
    ]


def names_of(fleet: str, instances: Iterable[Instance]) -> list[tuple[str, Instance]]:
    """Each instance that is a host, with its name, by slot."""
    present = sorted(
        (each for each in instances if each.state != STOPPED and each.purpose == FLEET),
        key=lambda each: (each.slot, each.created, each.id),
    )
    seen: Counter[int] = Counter()
    named = []
    for instance in present:
        seen[instance.slot] += 1
        # The name belongs to the slot; in the midst of a swap a second instance in it has a number more.
        suffix = f"-{seen[instance.slot]}" if seen[instance.slot] > 1 else ""
        named.append((f"{fleet}-{instance.slot}{suffix}", instance))
    return named


def _groups(
    place: HostContext, instance: Instance, channels: Sequence[Mapping[str, Any]], due: str | None
) -> tuple[str, ...]:
    groups = [f"service_{place.definition.service}", f"target_{place.target}", f"image_{_image_name(instance)}"]
    groups += [f"channel_{each['channel']}" for each in channels if each["image"] == instance.image]
    if proves(instance) is True:
        groups.append(SEALED)
    if due is not None and instance.image != due:
        groups.append(OUTDATED)
    return (*groups, *(mark for mark in tags.MARKS if mark in instance.tags))


def _variables(place: HostContext, instance: Instance) -> dict[str, Any]:
    return {
        **host_vars(instance, place.private_key, place.known_hosts),
        "immutable_service": place.definition.service,
        "immutable_target": place.target,
        "immutable_fleet": place.fleet,
        "immutable_instance_id": instance.id,
        "immutable_slot": instance.slot,
        "immutable_state": instance.state,
        "immutable_sealed": proves(instance) is True,
        # As it was launched: a guest's own words could hold a template.
        "immutable_shell": instance.tags.get(tags.SHELL, ""),
        "immutable_image": instance.image,
        "immutable_image_name": _image_name(instance),
        "immutable_version": instance.tags.get(tags.VERSION, ""),
        "immutable_build": instance.tags.get(tags.BUILD, ""),
        "immutable_launch": instance.launch,
        "immutable_endpoints": {str(port): list(address) for port, address in instance.endpoints.items()},
        "immutable_store": place.store,
        # Not the reason: it is a text of anybody's and could hold a template.
        **{f"immutable_{mark}": mark in instance.tags for mark in tags.MARKS},
    }


def _image_name(instance: Instance) -> str:
    return instance.tags.get(tags.IMAGE_NAME) or instance.image.removeprefix("sha256:")[:12]
