# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of a launch, and a fingerprint that shows whether an instance has the settings that are declared now.

Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._aws.instances import HOP_LIMIT
from .model import ProviderName, SecretRef, Target

SSM: Final = "ssm"  # the kind of secret that the host itself reads


def ssm_parameters(references: Mapping[str, SecretRef]) -> dict[str, str]:
    """Return the SSM parameters of the secrets that the host itself reads, by the secrets' names."""
    return {name: reference.name for name, reference in references.items() if reference.kind == SSM}


def launch_fingerprint(
    key: bytes,
    image_digest: str,
    *,
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    machine: Mapping[str, Any],
) -> str:
    """Return the hexadecimal HMAC-SHA256 of the settings of a launch. The key prevents guessing secrets from it.

    Args:
        key: the store's secret key.
        image_digest: the digest of the image, ``sha256:<hex>``.
        secrets: the values, or the parameters with their versions, by name.
        machine: as returned by ``machine_settings``.
    """
    document = {"image": image_digest, "settings": dict(settings), "secrets": dict(secrets), "machine": dict(machine)}
    return hmac.new(
        key, json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), hashlib.sha256
    ).hexdigest()


def machine_settings(target: Target) -> dict[str, Any]:
    """Return the target's launch settings as plain data for its provider. A change of any of them requires a swap."""
    return MACHINE_SETTINGS[target.provider](target)


def _local_settings(target: Target) -> dict[str, Any]:
    # Only if something is declared, so that the fingerprint of every other host stays as it was.
    reach = {"reach": dict(target.reach)} if target.reach else {}
    return {"memory": target.machine.memory, "cpus": target.machine.cpus, **reach}


def _container_settings(target: Target) -> dict[str, Any]:
    """Only what is declared, so that an option of a later release changes no fingerprint."""
    machine = target.machine
    return {
        **({"memory": machine.memory} if machine.memory else {}),
        **({"cpus": machine.cpus} if machine.cpus else {}),
        **({"reach": dict(target.reach)} if target.reach else {}),
        **({"engine": target.engine} if target.engine != "podman" else {}),
    }


def _ec2_settings(target: Target) -> dict[str, Any]:
    machine, network = target.machine, target.network
    return {
        "type": machine.type,
        "instance_profile": machine.instance_profile,
        "launch_template": list(machine.launch_template) if machine.launch_template else None,
        "root_size": machine.root_size,
        "subnets": dict(network.subnets),
        "security_groups": list(network.security_groups),
        "address": network.address,
        "evidence": target.evidence,
        # Only if it is not the default, so that the fingerprint of every other host stays as it was.
        **({"metadata_hop_limit": machine.metadata_hop_limit} if machine.metadata_hop_limit != HOP_LIMIT else {}),
    }


def _openstack_settings(target: Target) -> dict[str, Any]:
    machine, network = target.machine, target.network
    return {
        "flavor": machine.flavor,
        "server_group": machine.server_group,
        "config_drive": machine.config_drive,
        "networks": list(network.networks),
        "floating_network": network.floating_network,
        "security_groups": list(network.security_groups),
        "address": network.address,
        "evidence": target.evidence,
    }


# What a launch fingerprint covers, by provider.
MACHINE_SETTINGS: dict[ProviderName, Callable[[Target], dict[str, Any]]] = {
    "aws": _ec2_settings,
    "container": _container_settings,
    "openstack": _openstack_settings,
    "qemu": _local_settings,
    "simulated": _local_settings,
}
