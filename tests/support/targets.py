# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The smallest target of any provider, for tests of what depends on its provider alone."""

from __future__ import annotations

from typing import cast

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    FleetSpec,
    ProviderName,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe


def target_of(provider: str) -> Target:
    """The target ``local`` of a provider, also of one that is unknown."""
    return Target(
        name="local",
        provider=cast(ProviderName, provider),
        fleet=FleetSpec(),
        health=Health(http=HttpProbe(80)),
        base=Base("debian", "bookworm", python="3.11"),
    )
