# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe each instance by the health settings it was launched with: a swap may change the settings."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .._core.documents import mismatch, parse_json
from .._definition.probes import MAX_TEXT, METHODS, RESERVED_HEADERS, Health, HttpProbe, Https, TcpProbe
from .._definition.providers import RULES
from .._providers.contract import Instance, Probe, Provider
from .._providers.tags import HEALTH
from .probe import probe_all

MAX_SECONDS = 999_999_999  # the longest duration of a definition
_PATH, _HEX = re.compile(r"/[!-~]*"), re.compile(r"([0-9a-f]{2}){0,256}")
_CODES = re.compile(r"[1-5][0-9]{2}-[1-5][0-9]{2}")
_HEADER, _VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"), re.compile(r"[!-~]+( [!-~]+)*")
_SERVER_NAME = re.compile(r"[a-z0-9.-]{0,253}")
# The PEM text of the CAs that instances of a launch were launched with, by its fingerprint; "" if it is unknown.
Authorities = Callable[[str], str]


class NetworkProber:
    """Probes instances over the network, see ``contract.Probe``.

    Args:
        default: the health of instances whose tag says nothing.
        relayed: the network accepts a connection before the guest does. Instances that were launched to be judged by
            a connection alone are judged by ``default``.
        authorities: finds the CAs of launches that had other ones than ``default``.
    """

    def __init__(self, default: Health, relayed: bool = False, authorities: Authorities | None = None) -> None:
        self._default = default
        self._relayed = relayed
        self._authorities = functools.cache(authorities) if authorities else None

    def __call__(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        wanted = {instance.id: (instance.endpoints, self._health_of(instance)) for instance in instances}
        return probe_all(wanted, relayed=self._relayed)

    def _health_of(self, instance: Instance) -> Health:
        health = health_of(instance, self._default, self._authorities)
        return self._default if self._relayed and health.only_connects else health


def prober_for(provider: Provider, default: Health, authorities: Authorities | None = None) -> Probe:
    """The provider's own probe if it has one, else a probe over the network. See ``NetworkProber``."""
    relayed = RULES[provider.name].relayed
    return provider.probe or NetworkProber(default, relayed=relayed, authorities=authorities)


def health_tag(health: Health) -> str:
    """The text of the tag that holds an instance's health."""
    return json.dumps(health.as_dict(), sort_keys=True)


def health_of(instance: Instance, default: Health, authorities: Authorities | None = None) -> Health:
    """The health in the instance's tag, or ``default`` if the tag is missing or cannot be read.

    A tag names CAs by their fingerprint only. If they are known neither from ``default`` nor from ``authorities``,
    nothing could be verified, so ``default`` decides as well.
    """
    try:
        health = _health_in(instance.tags[HEALTH])
        ca = health.https.ca if health.https else ""
    except (KeyError, ValueError, TypeError, AttributeError):
        return default
    if not _is_valid(health):
        return default
    if not ca or health.http is None or health.https is None:
        return health
    known = [default.https] if default.https else []
    if authorities and not any(https.fingerprint == ca for https in known):
        known.append(Https(ca=authorities(instance.launch)))
    for https in known:
        if https.fingerprint == ca:
            return replace(health, http=replace(health.http, https=replace(health.https, ca=https.ca)))
    return default


def _health_in(tag: str) -> Health:
    """The health in a tag, with the fingerprint of the CAs in their place. Raises what a wrong tag causes."""
    fields: dict[str, Any] = parse_json(tag)
    http, tcp = fields.pop("http"), fields.pop("tcp")
    headers = http.pop("headers", {}) if http else {}
    problem = mismatch({**fields, "http": http, "tcp": tcp}, Health) or mismatch(headers, dict[str, str])
    if problem:
        raise ValueError(problem)
    if http:
        https = http.pop("https", None)
        http = HttpProbe(
            http["port"],
            http["path"],
            tuple(http["status"]),
            method=http.get("method", "GET"),
            headers=tuple(headers.items()),
            contains=http.get("contains", ""),
            https=None if https is None else Https(**https),
        )
    return Health(http=http or None, tcp=TcpProbe(**tcp) if tcp else None, **fields)


def _is_valid(health: Health) -> bool:
    """Whether a health of the right types has values that a definition can have."""
    times = (health.timeout, health.boot_deadline, health.deadline)
    return (
        all(0 < port < 65536 for port in health.ports)
        and all(0 < time <= MAX_SECONDS for time in times)
        and (health.http is None or _is_valid_request(health.http))
        and (health.tcp is None or all(map(_HEX.fullmatch, (health.tcp.send, health.tcp.expect))))
        and bool(health.ports)
    )


def _is_valid_request(probe: HttpProbe) -> bool:
    https = probe.https or Https(verify=False)
    return (
        bool(_PATH.fullmatch(probe.path))
        and all(0 < each < 65536 if isinstance(each, int) else _CODES.fullmatch(each) for each in probe.status)
        and probe.method in METHODS
        and all(_HEADER.fullmatch(name) and _VALUE.fullmatch(value) for name, value in probe.headers)
        and all(name.lower() not in RESERVED_HEADERS for name, _value in probe.headers)
        and len(probe.contains) <= MAX_TEXT
        and bool(_SERVER_NAME.fullmatch(https.server_name))
        and (bool(https.server_name) or not https.verify)
    )
