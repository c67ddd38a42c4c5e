# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a definition is handed over at a launch, and the fingerprint that tells whether it is what is declared now. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from .model import SecretRef, Target

SSM = "ssm"  # the kind of secret that the host fetches by itself


def ssm_parameters(references: Mapping[str, SecretRef]) -> dict[str, str]:
    """The parameter in SSM of each secret that the host fetches by itself."""
    return {name: reference.name for name, reference in references.items() if reference.kind == SSM}


def launch_fingerprint(
    key: bytes, image_digest: str, settings: Mapping[str, Any], secrets: Mapping[str, str], machine: Mapping[str, Any]
) -> str:
    """HMAC-SHA256 in hexadecimal. Keyed, so that nobody can try out secrets against it."""
    document = {"image": image_digest, "settings": dict(settings), "secrets": dict(secrets), "machine": dict(machine)}
    return hmac.new(
        key, json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), hashlib.sha256
    ).hexdigest()


def machine_settings(target: Target) -> dict[str, Any]:
    """The target's own launch settings, as its provider reads them: plain data. A change of any of them is a reason to swap."""
    machine, network = target.machine, target.network
    if target.provider != "aws":
        return {"memory": machine.memory, "cpus": machine.cpus}
    return {
        "type": machine.type,
        "instance_profile": machine.instance_profile,
        "launch_template": list(machine.launch_template) if machine.launch_template else None,
        "root_size": machine.root_size,
        "subnets": dict(network.subnets),
        "security_groups": list(network.security_groups),
        "address": network.address,
        "evidence": target.evidence,
    }
