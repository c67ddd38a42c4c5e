# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe each instance by the health settings it was launched with: a swap may change the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from .._core.documents import mismatch, parse_json
from .._definition.model import RELAYED_PROVIDERS, Health, HttpProbe, TcpProbe
from .._providers.contract import Instance, Probe, Provider
from .._providers.tags import HEALTH
from .probe import probe_all

MAX_SECONDS = 999_999_999  # the longest duration of a definition
_PATH, _HEX = re.compile(r"/[!-~]*"), re.compile(r"([0-9a-f]{2}){0,256}")


class NetworkProber:
    """Probes instances over the network, see ``contract.Probe``.

    Args:
        default: the health of instances whose tag says nothing.
        relayed: the network accepts a connection before the guest does. Instances that were launched to be judged by
            a connection alone are judged by ``default``.
    """

    def __init__(self, default: Health, relayed: bool = False) -> None:
        self._default = default
        self._relayed = relayed

    def __call__(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        wanted = {instance.id: (instance.endpoints, self._health_of(instance)) for instance in instances}
        return probe_all(wanted, relayed=self._relayed)

    def _health_of(self, instance: Instance) -> Health:
        health = health_of(instance, self._default)
        return self._default if self._relayed and health.only_connects else health


def prober_for(provider: Provider, default: Health) -> Probe:
    """The provider's own probe if it has one, else a probe over the network."""
    return provider.probe or NetworkProber(default, relayed=provider.name in RELAYED_PROVIDERS)


def health_tag(health: Health) -> str:
    """The text of the tag that holds an instance's health."""
    return json.dumps(health.as_dict(), sort_keys=True)


def health_of(instance: Instance, default: Health) -> Health:
    """The health in the instance's tag, or ``default`` if the tag is missing or cannot be read."""
    try:
        fields = parse_json(instance.tags[HEALTH])
        if mismatch(fields, Health):
            return default
        http, tcp = fields.pop("http"), fields.pop("tcp")
        health = Health(
            http=HttpProbe(http["port"], http["path"], tuple(http["status"])) if http else None,
            tcp=TcpProbe(**tcp) if tcp else None,
            **fields,
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return default
    return health if _is_valid(health) else default


def _is_valid(health: Health) -> bool:
    """Whether a health of the right types has values that a definition can have."""
    numbers = (*health.ports, *(health.http.status if health.http else ()))
    times = (health.timeout, health.boot_deadline, health.deadline)
    return (
        all(0 < number < 65536 for number in numbers)
        and all(0 < time <= MAX_SECONDS for time in times)
        and (health.http is None or bool(_PATH.fullmatch(health.http.path)))
        and (health.tcp is None or all(map(_HEX.fullmatch, (health.tcp.send, health.tcp.expect))))
        and bool(health.ports)
    )
