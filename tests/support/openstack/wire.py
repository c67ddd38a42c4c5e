# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The calls of one connection to a real OpenStack, on their way: recorded, watched, cut off."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..killed import ControllerKilled

KEYSTONE = 5000
CHANGING = ("POST", "PUT", "DELETE", "PATCH")
ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")


@dataclass(frozen=True)
class Call:
    """One request to a service."""

    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def changing(self) -> bool:
        return self.method in CHANGING

    @property
    def what(self) -> str:
        """Without IDs, and with the name of an action, such as ``POST servers/ID/action os-stop``."""
        path = ID.sub("ID", self.path)
        action = f" {next(iter(self.body), '')}" if path.endswith("/action") else ""
        return f"{self.method} {path}{action}"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(ID.findall(self.path))


# What stands between a call and the cloud: it proceeds, or raises, before or after.
Layer = Callable[[Call, Callable[[], Any]], Any]


class Wire:
    """What a connection sends to all services but Keystone."""

    def __init__(self, connection: Any) -> None:
        self.calls: list[Call] = []
        self.layers: list[Layer] = []
        self._lock = threading.Lock()
        session = connection.session
        self._send = session.request
        session.request = self._request

    def changes(self) -> list[Call]:
        return [call for call in self.calls if call.changing]

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[None]:
        """The layer is the first that sees a call."""
        self.layers.insert(0, layer)
        try:
            yield
        finally:
            self.layers.remove(layer)

    def killer(self, nth: int, late: bool) -> Layer:
        """Kills the controller at its nth changing call, before the call is sent or (``late``) after its effect.

        Whatever it still does after that does not reach the cloud either.
        """
        left = nth

        def kill(call: Call, proceed: Callable[[], Any]) -> Any:
            nonlocal left
            with self._lock:
                left -= call.changing
                now = left == 0 and call.changing
            if left < 0 or (now and not late):
                raise ControllerKilled
            answer = proceed()
            if now:
                left = -1
                raise ControllerKilled
            return answer

        return kill

    def _request(self, url: str, method: str, *positional: Any, **arguments: Any) -> Any:
        address = urlsplit(str(url))
        host = urlsplit(str((arguments.get("endpoint_filter") or {}).get("endpoint_override") or ""))
        if KEYSTONE in (address.port, host.port) or "/auth/" in address.path:
            return self._send(url, method, *positional, **arguments)
        body = arguments.get("json")
        call = Call(method, _relative(address.path), json.loads(json.dumps(body)) if isinstance(body, dict) else {})

        def send() -> Any:
            return self._send(url, method, *positional, **arguments)

        return self._through(list(self.layers), call, send)

    def _through(self, layers: list[Layer], call: Call, send: Callable[[], Any]) -> Any:
        if not layers:
            self.calls.append(call)
            return send()
        return layers[0](call, lambda: self._through(layers[1:], call, send))


def _relative(path: str) -> str:
    """Without the version of the API and the ID of the project."""
    return re.sub(r"^/?(v[0-9.]+/)?([0-9a-f]{32}/)?", "", path.lstrip("/"))
