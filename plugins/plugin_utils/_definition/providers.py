# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each provider supports of a definition, and its defaults: one entry in a table for each.

Further rules, which no table can express, are in ``checks``. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._aws.tags import MAX_TEXT
from .._openstack import metadata
from .document import KeyPath
from .image_from import HandOver
from .launch_settings import container_settings, ec2_settings, local_settings, openstack_settings
from .model import BASE_KINDS, SECRET_KINDS, BaseKind, SecretKind, Target


@dataclass(frozen=True)
class ProviderRules:
    """What one provider supports. The defaults are those of the simulated one, which stands for any other.

    Attributes:
        launch_settings: returns the launch settings of a target as plain data. A change of any of them requires a swap.
        keys: of the keys below a target that not every provider uses, those that it does. None: all of them.
        bases: kinds of base images that it bakes from.
        secrets: kinds of secrets that it hands to its instances.
        hand_over: how a target gets an image that a target in another account or project bakes. () if there are none.
        volume_types: types of data volumes. () if each cloud has its own.
        ebs_options: whether data volumes have the options of EBS: iops, throughput, kms_key.
        zones: whether it has zones.
        relayed: whether its network accepts a connection before the guest does, which then proves no service.
        ssh: whether its instances have an SSH server. Otherwise its engine lets Ansible in.
        health_text: characters that the health settings may take in the tags of an instance. None: any number.
        summarized: fields of a target that the summaries of other providers' targets leave out.
        health, machine, build: values of keys that a definition leaves out, where other providers have others.
    """

    launch_settings: Callable[[Target], dict[str, Any]]
    keys: tuple[KeyPath, ...] | None = None
    bases: tuple[BaseKind, ...] = BASE_KINDS
    secrets: tuple[SecretKind, ...] = SECRET_KINDS
    hand_over: tuple[HandOver, ...] = ()
    volume_types: tuple[str, ...] = ()
    ebs_options: bool = True
    zones: bool = True
    relayed: bool = False
    ssh: bool = True
    health_text: int | None = None
    summarized: tuple[str, ...] = ()
    health: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)

    def uses(self, key: KeyPath) -> bool:
        """Whether a key below a target means something to it. ``key``: one of ``special_keys``."""
        return self.keys is None or key in self.keys


def _below(part: str, *keys: str) -> Iterable[KeyPath]:
    return ((part, key) for key in keys)


def _top(*keys: str) -> Iterable[KeyPath]:
    return ((key,) for key in keys)


_LOCAL_KEYS = (*_top("reach"), *_below("machine", "memory", "cpus"), *_below("traffic", "bind", "port"))
_CLOUD_KEYS = (
    *_top("network", "evidence", "snapshots", "tags", "image_from"),
    *_below("build", "ssh_username", "options"),
)
RULES: Mapping[str, ProviderRules] = {  # by ProviderName
    "qemu": ProviderRules(
        launch_settings=local_settings,
        keys=(*_LOCAL_KEYS, *_below("build", "memory", "cpus")),
        bases=("debian", "qcow2", "url"),
        secrets=("env", "variable"),
        volume_types=("qcow2", "raw"),
        ebs_options=False,
        zones=False,
        relayed=True,
    ),
    "container": ProviderRules(
        launch_settings=container_settings,
        keys=(*_LOCAL_KEYS, *_top("engine")),
        bases=("debian", "container", "archive"),
        secrets=("env", "variable"),
        volume_types=("folder", "image"),
        ebs_options=False,
        zones=False,
        relayed=True,
        ssh=False,
        summarized=("engine",),
        machine={"memory": 0, "cpus": 0},  # no limits unless they are declared
    ),
    "aws": ProviderRules(
        launch_settings=ec2_settings,
        keys=(
            *_CLOUD_KEYS,
            *_top("region", "profile", "role", "external_id", "endpoint_url"),
            *_top("identity_certificates", "probe"),
            *_below("network", "subnets"),
            *_below("machine", "type", "instance_profile", "launch_template", "root_size", "metadata_hop_limit"),
            *_below("build", "region", "type", "subnet", "encrypt", "kms_key", "ssh_cidrs"),
            *_below("traffic", "target_groups", "rule", "deregistration_delay"),
        ),
        bases=("ami",),
        secrets=("ssm",),
        hand_over=("share", "copy"),
        volume_types=("gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"),
        health_text=MAX_TEXT,
        health={"boot_deadline": "10m"},  # consoles of EC2 show their output late
    ),
    "openstack": ProviderRules(
        launch_settings=openstack_settings,
        keys=(
            *_CLOUD_KEYS,
            *_top("cloud"),
            *_below("network", "networks", "floating_network"),
            *_below("machine", "flavor", "server_group", "config_drive"),
            *_below("build", "flavor", "networks", "security_groups", "floating_network", "zone", "config_drive"),
            *_below("build", "volume"),
            *_below("traffic", "pool", "bind", "port"),
        ),
        bases=("glance",),
        secrets=(),
        hand_over=("share",),
        ebs_options=False,
        health_text=metadata.MAX_TEXT,
        summarized=("openstack",),
        health={"boot_deadline": "10m"},  # the cloud may first have to copy an image to a host
        build={"ssh_username": "debian"},  # of Debian's images for OpenStack
    ),
    "simulated": ProviderRules(launch_settings=local_settings),
}


def special_keys() -> list[KeyPath]:
    """Return the keys below a target that not every provider uses."""
    return list(dict.fromkeys(key for rules in RULES.values() for key in rules.keys or ()))


def providers_with(key: KeyPath) -> list[str]:
    """Return the real providers that use one of ``special_keys``."""
    return [name for name, rules in RULES.items() if rules.keys and key in rules.keys]
