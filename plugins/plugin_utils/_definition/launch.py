# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of a launch, and a fingerprint that shows whether an instance has the settings that are declared now.

Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from .model import SecretRef, Target
from .providers import RULES

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
    return RULES[target.provider].launch_settings(target)
