# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Definitions and targets as plain data for results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .model import Definition, Metric, Target, Vaulted
from .probes import Https
from .providers import RULES

# Keys of later releases, by the part of a target. At its default, each is left out: the result stays as it was.
_LATER = (
    ("aws", "external_id"),
    ("network", "ssh_proxy"),
    *(
        ("build", key)
        for key in ("flavor", "networks", "security_groups", "floating_network", "zone", "config_drive", "volume")
    ),
    ("build", "ssh_cidrs"),
    ("traffic", "deregistration_delay"),
    ("machine", "metadata_hop_limit"),
    ("machine", "flavor"),
    ("machine", "server_group"),
    ("machine", "config_drive"),
    ("network", "networks"),
    ("network", "floating_network"),
    ("traffic", "pool"),
)


def summary_of(definition: Definition, target: Target) -> dict[str, Any]:
    """Return a definition as JSON types.

    ``base`` is the target's. The value of a vaulted variable is replaced by ``vaulted``.
    """
    provision = definition.provision
    variables = {name: "vaulted" if isinstance(value, Vaulted) else value for name, value in provision.vars.items()}
    return {
        "path": str(definition.path),
        "service": definition.service,
        "version": definition.version,
        "base": asdict(target.base),
        "provision": {**asdict(provision), "vars": variables, "vars_files": list(provision.vars_files)},
        "verify": definition.verify,
        "data": [volume.as_dict() for volume in definition.data],
        "writable": list(definition.writable),
        "shell": definition.shell,
        "targets": sorted(definition.targets),
        **({"command": list(definition.command)} if definition.command else {}),
        **({"user": definition.user} if definition.user else {}),
        **({"capabilities": list(definition.capabilities)} if definition.capabilities else {}),
    }


def target_summary(target: Target) -> dict[str, Any]:
    """Return a target as JSON types. For secrets it contains their sources, not their values."""
    data: dict[str, Any] = _as_lists({**asdict(target), "health": target.health.as_dict()})
    fleet = data["fleet"]
    del fleet["drain_set"]
    fleet["alarm"] = _metric_summary(target.fleet.alarm)
    for stage, fields in zip(target.fleet.canary, fleet["canary"], strict=True):
        fields["metric"] = _metric_summary(stage.metric)
    if target.fleet.autoscaling:
        fleet["autoscaling"] = _as_lists(target.fleet.autoscaling.as_dict())
    for provider, rules in RULES.items():
        for key in rules.summarized if provider != target.provider else ():
            del data[key]
    del data["image_users"], data["image_clouds"]
    for key in ("tags", "reach", "image_from", "identity_certificates"):
        if not data[key]:
            del data[key]
    if target.image_from:
        data["image_from"] = {target.image_from.how: target.image_from.target}
    for place, key in _LATER:
        part = getattr(target, place)
        if getattr(part, key) == getattr(type(part), key):
            del data[place][key]
    return data


def _metric_summary(metric: Metric | None) -> dict[str, Any] | None:
    """As it was before a metric could have headers and CAs, with the fingerprint of the CAs."""
    if metric is None:
        return None
    data: dict[str, Any] = _as_lists(metric.as_dict())
    return {**data, "ca": Https(ca=metric.ca).fingerprint} if metric.ca else data


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_lists(part) for key, part in value.items()}
    return [_as_lists(part) for part in value] if isinstance(value, (list, tuple)) else value
