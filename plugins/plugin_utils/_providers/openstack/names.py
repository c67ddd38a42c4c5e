# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the names of a target's settings mean in the cloud. Each is looked up once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._core.errors import ProviderError
from ..._openstack.rest import Rest


class Names:
    """Flavors and networks by ID or name. Raises ProviderError for a name that means nothing, or several things."""

    def __init__(self, compute: Rest, network: Rest) -> None:
        self._compute = compute
        self._network = network
        self._flavors: dict[str, str] = {}
        self._networks: dict[str, tuple[str, str]] = {}

    def flavor(self, given: str) -> str:
        """The flavor's ID."""
        if given not in self._flavors:
            listed = self._compute.pages("/flavors", "flavors", "reading flavors")
            self._flavors[given] = str(_one(listed, given, "flavor", "machine.flavor")["id"])
        return self._flavors[given]

    def network(self, given: str) -> tuple[str, str]:
        """The network's ID and name."""
        if given not in self._networks:
            listed = [
                one
                for key in ("id", "name")
                for one in self._network.pages("/networks", "networks", f"reading network {given}", **{key: given})
            ]
            found = _one(listed, given, "network", "network.networks, network.floating_network")
            self._networks[given] = str(found["id"]), str(found.get("name", ""))
        return self._networks[given]


def _one(listed: list[dict[str, Any]], given: str, what: str, key: str) -> Mapping[str, Any]:
    by_id = [one for one in listed if one.get("id") == given]
    found = by_id[:1] or [one for one in listed if one.get("name") == given]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} {what}s have the name" if found else f"there is no {what}"
    raise ProviderError(f"{key}: {problem} {given} (allowed: the ID or the name of one {what})", permanent=True)
