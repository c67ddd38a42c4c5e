# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers and volumes as documents in memory, for tests of which requests are sent.

How a real cloud behaves is tested in ``tests/openstack``. Here a state changes only if the test says so.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections

Documents = dict[str, dict[str, Any]]


class Answer:
    def __init__(self, document: Mapping[str, Any], status: int = 200) -> None:
        self.document, self.status_code, self.content = document, status, b"{}"
        self.headers: dict[str, str] = {}
        self.reason, self.text, self.url, self.request = "said so", "", "", None

    def json(self) -> Mapping[str, Any]:
        return self.document


class PaperCloud:
    """One project. ``requests``: those that were sent, such as ``DELETE /servers/1``, with the names of actions."""

    def __init__(self) -> None:
        self.servers: Documents = {}
        self.volumes: Documents = {}
        self.groups: Documents = {}  # of servers
        self.requests: list[str] = []
        self.on_request: Callable[[str], None] = lambda _request: None
        services = {
            "compute": SimpleNamespace(request=self._compute),
            "block_storage": SimpleNamespace(request=self._storage),
            "network": SimpleNamespace(request=self._network),
        }
        connection = SimpleNamespace(**services)
        self.connections = cast(Connections, SimpleNamespace(connection=connection, region="R", place="shop"))

    @property
    def changes(self) -> list[str]:
        """The requests that change something."""
        return [request for request in self.requests if not request.startswith("GET")]

    def _note(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        action = f" {next(iter(body))}" if path.endswith("/action") else ""
        self.requests.append(f"{method} {path}{action}")
        self.on_request(self.requests[-1])

    def _compute(self, path: str, method: str, **more: Any) -> Answer:
        self._note(method, path, more.get("json") or {})
        kind, *rest = path.split("/")[1:]
        if kind != "servers":
            if method == "DELETE":
                del self.groups[rest[0]]
            return Answer({"server_groups": list(self.groups.values())})
        if rest == ["detail"]:
            return Answer({"servers": list(self.servers.values())})
        return self._resource(self.servers, rest, method, more)

    def _storage(self, path: str, method: str, **more: Any) -> Answer:
        self._note(method, path, more.get("json") or {})
        kind, *rest = path.split("/")[1:]
        if kind == "volumes" and rest == ["detail"]:
            wanted = ast.literal_eval(more["params"].get("metadata", "{}"))
            found = [one for one in self.volumes.values() if wanted.items() <= one["metadata"].items()]
            return Answer({"volumes": found})
        if kind == "volumes" and method == "POST" and not rest:
            volume = {"id": f"volume-{len(self.volumes)}", "status": "creating", "attachments": []}
            self.volumes[volume["id"]] = {**volume, **more["json"]["volume"]}  # type: ignore[index]
            return Answer({"volume": volume})
        if kind != "volumes":
            return Answer({})
        return self._resource(self.volumes, rest, method, more)

    def _network(self, path: str, method: str, **more: Any) -> Answer:
        self._note(method, path, more.get("json") or {})
        return Answer({})

    def _resource(self, found: Documents, rest: list[str], method: str, more: Mapping[str, Any]) -> Answer:
        key, *part = rest
        if key not in found:
            return Answer({}, 404)
        if method == "DELETE" and not part:
            del found[key]
        if method == "POST" and part == ["metadata"]:
            found[key]["metadata"] |= more["json"]["metadata"]
        name = "server" if found is self.servers else "volume"
        return Answer({name: found[key]} if method == "GET" else {})
