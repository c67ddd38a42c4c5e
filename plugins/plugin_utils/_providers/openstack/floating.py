# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Floating addresses of servers. Each belongs to one server and is deleted with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..._core.errors import ProviderError
from ..._openstack.rest import Rest

POLL_SECONDS = 1.0
TIMEOUT = 60.0  # seconds for the ports of new servers to appear
MARK = "immutable:"  # begins the description of an address
MAX_FILTER_VALUES = 50  # IDs in one request's address


class FloatingAddresses:
    """Raises ProviderError."""

    def __init__(self, network: Rest) -> None:
        self._network = network

    def give(self, servers: Sequence[str], external: str, internal: str) -> None:
        """Give each server an address that it does not have yet.

        Args:
            servers: IDs. Nova creates their ports a moment after a launch, which this waits for.
            external: ID of the network of the addresses.
            internal: ID of the network of the ports that get them.
        """
        deadline = time.monotonic() + TIMEOUT
        while True:
            ports = {
                str(port["device_id"]): port for port in self._ports(servers) if port.get("network_id") == internal
            }
            missing = [server for server in servers if server not in ports]
            if not missing:
                break
            if time.monotonic() > deadline:
                raise ProviderError(
                    f"{', '.join(missing)} got no port within {TIMEOUT:g} s, so no floating address either"
                )
            time.sleep(POLL_SECONDS)
        taken = {address.get("port_id") for address in self._addresses([str(port["id"]) for port in ports.values()])}
        for server, port in ports.items():
            if port["id"] not in taken:
                body = {"floating_network_id": external, "port_id": port["id"], "description": f"{MARK} {server}"}
                self._network.post("/floatingips", {"floatingip": body}, f"giving {server} a floating address")

    def remove(self, servers: Sequence[str]) -> None:
        """Delete the addresses that servers got here, and which they lose at once. Those of others stay."""
        ports = [str(port["id"]) for port in self._ports(servers)]
        for address in self._addresses(ports):
            if str(address.get("description", "")).startswith(MARK):
                self._network.delete(f"/floatingips/{address['id']}", "removing a floating address")

    def _ports(self, servers: Sequence[str]) -> list[dict[str, Any]]:
        return self._listed("/ports", "ports", "device_id", servers)

    def _addresses(self, ports: Sequence[str]) -> list[dict[str, Any]]:
        return self._listed("/floatingips", "floatingips", "port_id", ports)

    def _listed(self, path: str, key: str, name: str, values: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(values), MAX_FILTER_VALUES):
            part: Mapping[str, Any] = {name: list(values[start : start + MAX_FILTER_VALUES])}
            found += self._network.pages(path, key, f"reading {key}", **part)
        return found
