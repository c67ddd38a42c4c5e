# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute the digest: a checksum of every declared input of a bake, whatever the folder, order and timestamps are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ...module_utils._seal_tmpfs import LOG_SIZE
from .model import Definition, Target, Vaulted
from .probes import HttpProbe, TcpProbe
from .tree import file_entry, tree_entries, tree_files

VAULT_KEY = "!vault"  # the key of ciphertext among the inputs

__all__ = ["bake_inputs", "digest_of", "tree_files", "verify_digest"]


def bake_inputs(definition: Definition, target: Target, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return every input of the bake as plain data (JSON types).

    Args:
        base: the resolved base; see ``_bake/builders/registry``.

    Raises DefinitionError if a file cannot be read or a link leads outside the folder.
    """
    provision = definition.provision
    owners = {
        volume.name: {"owner": volume.owner, "reown": volume.reown}
        for volume in definition.data
        if volume.owner or volume.reown
    }
    capabilities = definition.capabilities if target.provider in ("container", "simulated") else ()
    noexec = sorted(volume.name for volume in definition.data if volume.noexec)
    return {
        "schema": 1,
        "service": definition.service,
        "version": definition.version,
        "image": {
            "playbook": provision.playbook,
            "requirements": provision.requirements,
            "vars": _plain_value(provision.vars),
            "vars_files": list(provision.vars_files),
            "ansible_core": provision.ansible_core,
            **({"command": list(definition.command)} if definition.command else {}),
            **({"user": definition.user} if definition.user else {}),
        },
        "data": {volume.name: volume.mount for volume in definition.data},
        "writable": sorted(definition.writable),
        "seal": {
            "shell": definition.shell,
            **({"user_namespaces": True} if definition.user_namespaces else {}),
            **({"log_size": definition.log_size} if definition.log_size != LOG_SIZE else {}),
            # Other hosts do not have it, so it makes no new image for them.
            **({"capabilities": list(capabilities)} if capabilities else {}),
        },
        "base": dict(base),
        "tree": tree_entries(definition),
        **({"owners": owners} if owners else {}),
        **({"noexec": noexec} if noexec else {}),
        # An input only if it is pinned. Otherwise the machine that bakes determines the version.
        **({"plugin": target.build.plugin} if target.build.plugin else {}),
    }


def digest_of(inputs: Mapping[str, Any]) -> str:
    """Return ``sha256:<hex>`` of the inputs as canonical JSON."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def verify_digest(definition: Definition, target: Target) -> str:
    """Return the digest of what an image is tested with. A change requires a new verification, but no new bake.

    Raises DefinitionError if the verify playbook cannot be read.
    """
    verify = definition.verify
    health = target.health
    return digest_of(
        {
            "playbook": {verify: file_entry(definition.folder / verify, definition.folder)} if verify else {},
            "http": _http_inputs(health.http),
            "tcp": _tcp_inputs(health.tcp),
            "data": [[volume.name, volume.mount] for volume in definition.data],
        }
    )


def _http_inputs(probe: HttpProbe | None) -> Any:
    """Three items if there is nothing else, as it was before a probe could say more."""
    if probe is None:
        return None
    extras = probe.extras()
    return [probe.port, probe.path, list(probe.status), *([extras] if extras else [])]


def _tcp_inputs(probe: TcpProbe | None) -> Any:
    """The port alone if there is nothing else, as it was before a probe could send and expect."""
    return [probe.port, probe.send, probe.expect] if probe and probe.expect else probe and probe.port


def _plain_value(value: Any) -> Any:
    if isinstance(value, Vaulted):
        return {VAULT_KEY: value.ciphertext.strip()}
    if isinstance(value, Mapping):
        return {str(key): _plain_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(part) for part in value]
    return value
