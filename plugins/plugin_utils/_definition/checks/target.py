# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that a target's provider supports what the definition requires of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..document import Document, KeyPath, target_names, value_at
from ..model import BASE_KINDS, SECRET_KINDS
from ..providers import RULES, ProviderRules, providers_with, special_keys
from .aws import check_aws
from .openstack import check_openstack

LARGEST_PORT = 65535
LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "0")
# The rules of one provider that no table can express.
_CHECKS: Mapping[str, Callable[[Document, str, Path], None]] = {"aws": check_aws, "openstack": check_openstack}


def check_targets(document: Document, folder: Path) -> None:
    """Add a problem for everything in a target that its provider does not support. ``folder``: the definition's."""
    closed = value_at(document.data, ("seal", "shell")) == "off"
    for name in target_names(document.data):
        place = ("targets", name)
        provider = value_at(document.data, (*place, "provider"))
        if closed and value_at(document.data, (*place, "authorized_key")) is not None:
            document.add_problem((*place, "authorized_key"), "nobody can log in if seal.shell is off; remove this key")
        if isinstance(provider, str) and provider in RULES:  # the schema names an unknown one
            _check_support(document, name, provider, RULES[provider])
        if isinstance(provider, str) and provider in _CHECKS:
            _CHECKS[provider](document, name, folder)
        _check_reach(document, (*place, "reach"))


def _check_support(document: Document, target: str, provider: str, rules: ProviderRules) -> None:
    place = ("targets", target)
    if not rules.zones and value_at(document.data, (*place, "zones")) is not None:
        document.add_problem((*place, "zones"), f"the provider {provider} has no zones; remove this key")
    if provider != "simulated" and value_at(document.data, (*place, "simulation")) is not None:
        document.add_problem(
            (*place, "simulation"),
            f"the provider {provider} runs real machines; remove this key or set provider: simulated",
        )
    _check_volume_types(document, target, provider, rules.volume_types)
    _check_keys(document, place, provider, rules)
    _check_base(document, target, provider, rules)
    _check_secrets(document, place, provider, rules)
    _check_tcp_probe(document, target, provider, rules.relayed)


def _check_tcp_probe(document: Document, target: str, provider: str, relayed: bool) -> None:
    healths: tuple[KeyPath, ...] = (("targets", target, "health"), ("health",))
    place = next(((*keys, "tcp") for keys in healths if value_at(document.data, (*keys, "tcp")) is not None), ())
    probe = value_at(document.data, place) if place else None
    if not isinstance(probe, dict):
        return
    expects = probe.get("expect") is not None
    requests = any(value_at(document.data, (*keys, "http")) is not None for keys in healths)
    if relayed and not expects and not requests:
        document.add_problem(
            place,
            f"a connection proves nothing on target {target}: the network of {provider} accepts it before the guest "
            "does, so a service that is down would pass; add expect with bytes that the service answers, and send with "
            'bytes that it needs first (for SSH, expect: "SSH-2.0"; for other services see how-to/tcp-probes)',
        )
    if expects and value_at(document.data, ("targets", target, "probe")) == "balancer":
        document.add_problem(
            (*place, "expect"),
            f"probe: balancer lets the target group of target {target} decide, which cannot send or expect bytes; "
            "remove send and expect, or set probe: direct",
        )


def _check_keys(document: Document, place: KeyPath, provider: str, rules: ProviderRules) -> None:
    for keys in special_keys():
        if not rules.uses(keys) and value_at(document.data, (*place, *keys)) is not None:
            users = " and ".join(providers_with(keys))
            document.add_problem(
                (*place, *keys), f"the provider {provider} ignores this key, which is for {users}; remove it"
            )


def _check_reach(document: Document, place: KeyPath) -> None:
    """What is the controller's loopback by its spelling alone. Names are resolved when a guest is started."""
    reach = value_at(document.data, place)
    for seen, meant in reach.items() if isinstance(reach, dict) else ():
        for text in (seen, meant) if isinstance(seen, str) and isinstance(meant, str) else ():
            host, _colon, port = text.rpartition(":")
            if port.isdecimal() and int(port) > LARGEST_PORT:
                document.add_problem((*place, seen), f"{port} is not a port (allowed: 1 to {LARGEST_PORT})")
            if host.lower().rstrip(".") in LOOPBACK_NAMES or host.startswith(("127.", "0.")):
                document.add_problem(
                    (*place, seen),
                    f"{host} is the controller's loopback, which no guest may reach (allowed: another host)",
                )


def _check_base(document: Document, target: str, provider: str, rules: ProviderRules) -> None:
    if value_at(document.data, ("targets", target, "image_from")) is not None:
        return  # it bakes nothing
    own: KeyPath = ("targets", target, "base")
    base = value_at(document.data, own)
    place = ("image", "base") if base is None else own
    base = value_at(document.data, place)
    for kind in sorted({*BASE_KINDS} & set(base)) if isinstance(base, dict) else []:
        if kind not in rules.bases:
            what = f"the provider {provider} of target {target} cannot bake from {kind}"
            document.add_problem(
                (*place, kind),
                f"{what} (allowed: {', '.join(rules.bases)}; a target may set its own base)",
            )


def _check_secrets(document: Document, place: KeyPath, provider: str, rules: ProviderRules) -> None:
    secrets = value_at(document.data, (*place, "secrets"))
    for name, source in secrets.items() if isinstance(secrets, dict) else []:
        kind = next(iter(source), None) if isinstance(source, dict) else None
        if isinstance(kind, str) and kind in SECRET_KINDS and kind not in rules.secrets:
            allowed = f"allowed: {' or '.join(rules.secrets)}"
            if not rules.secrets:
                allowed = "it hands over none; let the service fetch them"
            document.add_problem(
                (*place, "secrets", name, kind),
                f"the provider {provider} does not support secrets from {kind} ({allowed})",
            )


def _check_volume_types(document: Document, target: str, provider: str, allowed: Sequence[str]) -> None:
    volumes = value_at(document.data, ("data",))
    for number in range(len(volumes) if allowed and isinstance(volumes, list) else 0):
        place = ("data", number, "type")
        kind = value_at(document.data, place)
        if isinstance(kind, str) and kind not in allowed:
            problem = f"{json.dumps(kind)} is not a volume type on target {target}, whose provider is {provider}"
            document.add_problem(place, f"{problem} (allowed: {', '.join(allowed)})")
