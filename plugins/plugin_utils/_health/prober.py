# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe each instance by the health that it was launched with: a swap may change how health is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from .._definition.model import Health, HttpProbe, TcpProbe
from .._providers.contract import Instance, Probe, Provider
from .._providers.tags import HEALTH
from .probe import probe_all


class NetworkProber:
    """Callable: instances in, by id True or the reason why the probe failed out."""

    def __init__(self, default: Health) -> None:
        self._default = default

    def __call__(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        groups: dict[Health, dict[str, Mapping[int, tuple[str, int]]]] = {}
        for instance in instances:
            groups.setdefault(health_of(instance, self._default), {})[instance.id] = instance.endpoints
        found: dict[str, bool | str] = {}
        for health, endpoints in groups.items():
            found.update(probe_all(endpoints, health))
        return found


def prober_for(provider: Provider, default: Health) -> Probe:
    """The provider's own probe if it has one, else a probe over the network."""
    return provider.probe or NetworkProber(default)


def health_tag(health: Health) -> str:
    return json.dumps(asdict(health), sort_keys=True)


def health_of(instance: Instance, default: Health) -> Health:
    """The health in the instance's tag; ``default`` where there is none that can be read."""
    try:
        told = json.loads(instance.tags[HEALTH])
        http, tcp = told.pop("http"), told.pop("tcp")
        return Health(
            http=HttpProbe(http["port"], http["path"], tuple(http["status"])) if http else None,
            tcp=TcpProbe(**tcp) if tcp else None,
            **told,
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return default
