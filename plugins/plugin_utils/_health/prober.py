# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe each instance by the health settings it was launched with: a swap may change the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from .._core.documents import parse_json
from .._definition.model import Health, HttpProbe, TcpProbe
from .._providers.contract import Instance, Probe, Provider
from .._providers.tags import HEALTH
from .probe import probe_all


class NetworkProber:
    """Probes instances over the network, see ``contract.Probe``.

    Args:
        default: the health of instances whose tag says nothing.
    """

    def __init__(self, default: Health) -> None:
        self._default = default

    def __call__(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        by_health: dict[Health, dict[str, Mapping[int, tuple[str, int]]]] = {}
        for instance in instances:
            by_health.setdefault(health_of(instance, self._default), {})[instance.id] = instance.endpoints
        results: dict[str, bool | str] = {}
        for health, endpoints in by_health.items():
            results.update(probe_all(endpoints, health))
        return results


def prober_for(provider: Provider, default: Health) -> Probe:
    """The provider's own probe if it has one, else a probe over the network."""
    return provider.probe or NetworkProber(default)


def health_tag(health: Health) -> str:
    """The text of the tag that holds an instance's health."""
    return json.dumps(asdict(health), sort_keys=True)


def health_of(instance: Instance, default: Health) -> Health:
    """The health in the instance's tag, or ``default`` if the tag is missing or cannot be read."""
    try:
        fields = parse_json(instance.tags[HEALTH])
        http, tcp = fields.pop("http"), fields.pop("tcp")
        return Health(
            http=HttpProbe(http["port"], http["path"], tuple(http["status"])) if http else None,
            tcp=TcpProbe(**tcp) if tcp else None,
            **fields,
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return default
