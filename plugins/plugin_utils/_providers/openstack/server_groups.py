# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server group of a fleet, which keeps its instances on different hosts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..._core.errors import ProviderError
from ..._openstack.rest import Rest


class ServerGroups:
    """Groups have no metadata, so their name says to which store and fleet they belong. Raises ProviderError."""

    def __init__(self, compute: Rest, store: str) -> None:
        self._compute = compute
        self._store = store

    def ensure(self, fleet: str, policy: str) -> str:
        """The ID of the fleet's group with this policy, which is created if it is missing."""
        for group in self._of(fleet):
            if group.get("policy") == policy:
                return str(group["id"])
        body = {"server_group": {"name": self._name(fleet), "policy": policy}}
        answer = self._compute.post("/os-server-groups", body, f"creating the server group of {fleet}")
        created = answer.get("server_group")
        if not isinstance(created, Mapping) or "id" not in created:
            raise ProviderError(f"creating the server group of {fleet}: Nova's answer names no group")
        return str(created["id"])

    def remove_unused(self, fleet: str, staying: Callable[[], Collection[str]]) -> None:
        """Remove groups of the fleet without a member that stays.

        Args:
            staying: IDs of servers. Not called for a fleet without groups.
        """
        groups = self._of(fleet)
        used = set(staying()) if groups else set()
        for group in groups:
            if used.isdisjoint(group.get("members", ())):
                self._compute.delete(f"/os-server-groups/{group['id']}", f"removing the server group of {fleet}")

    def _of(self, fleet: str) -> list[dict[str, Any]]:
        # This list has no links to further answers, so it is read as one.
        groups = self._compute.get("/os-server-groups", "reading server groups").get("server_groups", ())
        name = self._name(fleet)
        return [group for group in groups if isinstance(group, dict) and group.get("name") == name]

    def _name(self, fleet: str) -> str:
        return f"immutable-{self._store}-{fleet}"
