# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a launch fingerprint covers of a target, by provider. A change of any of them requires a swap. Pure.

Fingerprints are persisted: a new setting enters one only if it is declared.
"""

from __future__ import annotations

from typing import Any

from .._aws.instances import HOP_LIMIT
from .model import Target


def local_settings(target: Target) -> dict[str, Any]:
    # Only if something is declared, so that the fingerprint of every other host stays as it was.
    reach = {"reach": dict(target.reach)} if target.reach else {}
    return {"memory": target.machine.memory, "cpus": target.machine.cpus, **reach}


def container_settings(target: Target) -> dict[str, Any]:
    """Only what is declared, so that an option of a later release changes no fingerprint."""
    machine = target.machine
    return {
        **({"memory": machine.memory} if machine.memory else {}),
        **({"cpus": machine.cpus} if machine.cpus else {}),
        **({"reach": dict(target.reach)} if target.reach else {}),
        **({"engine": target.engine} if target.engine != "podman" else {}),
    }


def ec2_settings(target: Target) -> dict[str, Any]:
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


def openstack_settings(target: Target) -> dict[str, Any]:
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
