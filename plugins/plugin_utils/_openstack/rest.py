# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests to one service of an OpenStack cloud, as its API reference describes them.

openstacksdk finds the service, logs in and sends. The bodies are this project's own, so that the same request goes out
with every version of the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from .._core.errors import ProviderError
from .connect import COMPUTE_MICROVERSION, Connections
from .errors import NOT_FOUND, openstack_errors
from .library import library

ServiceName = Literal["compute", "network", "block_storage", "load_balancer"]
# The base version of a service without an entry. Volumes: lists that name an attachment's server, and filters.
MICROVERSIONS: Final[Mapping[ServiceName, str]] = {"compute": COMPUTE_MICROVERSION, "block_storage": "3.50"}
PAGE = 500  # resources of one answer; a service whose limit is lower answers fewer
MAX_PAGES = 1000
READ_RETRIES = 2  # of a read that did not arrive, or that a service or a proxy refused for a moment
BUSY = (429, 502, 503, 504)  # their HTTP statuses


class Rest:
    """Raises ``error`` with the service's words.

    The argument ``doing`` of each method says what the request is for, such as "reading servers".
    """

    def __init__(
        self, connections: Connections, service: ServiceName, error: type[ProviderError] = ProviderError
    ) -> None:
        self._connections = connections
        self._service = service
        self._error = error

    def get(self, path: str, doing: str, **parameters: Any) -> Mapping[str, Any]:
        """The JSON document at the path."""
        return self._send("GET", path, doing, params=parameters)

    def find(self, path: str, doing: str) -> Mapping[str, Any] | None:
        """The JSON document at the path, or None if there is none."""
        try:
            return self.get(path, doing)
        except ProviderError as error:
            if error.code != NOT_FOUND:
                raise
            return None

    def pages(self, path: str, key: str, doing: str, **parameters: Any) -> list[dict[str, Any]]:
        """All resources of a list, which may take several answers.

        Args:
            key: of the list in each answer.
        """
        found: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        for _page in range(MAX_PAGES):
            answer = self.get(path, doing, limit=PAGE, **parameters, **marker)
            part = [one for one in answer.get(key, ()) if isinstance(one, dict)]
            found += part
            if not part or not _has_next(answer, key):
                return found
            marker = {"marker": str(part[-1]["id"])}
        raise self._error(f"{doing}: OpenStack's list does not end after {MAX_PAGES} answers")

    def post(self, path: str, body: Mapping[str, Any], doing: str) -> Mapping[str, Any]:
        """The JSON document in the answer, {} if it has none."""
        return self._send("POST", path, doing, json=body)

    def put(self, path: str, body: Mapping[str, Any], doing: str) -> Mapping[str, Any]:
        """The JSON document in the answer, {} if it has none."""
        return self._send("PUT", path, doing, json=body)

    def delete(self, path: str, doing: str) -> None:
        """Remove what is at the path. What is missing is no error."""
        try:
            self._send("DELETE", path, doing)
        except ProviderError as error:
            if error.code != NOT_FOUND:
                raise

    def _send(self, method: str, path: str, doing: str, **arguments: Any) -> Mapping[str, Any]:
        with openstack_errors(self._error, doing):
            proxy = getattr(self._connections.connection, self._service)
            if method == "GET":
                arguments |= {"retriable_status_codes": BUSY, "status_code_retries": READ_RETRIES, "skip_cache": True}
            # A change whose connection broke may have been made, so only its caller can decide whether to repeat it.
            arguments["connect_retries"] = READ_RETRIES if method == "GET" else 0
            answer = proxy.request(path, method, microversion=MICROVERSIONS.get(self._service), **arguments)
            library().exceptions.raise_from_response(answer)
            try:
                document = answer.json() if answer.content else {}
            except ValueError as error:
                raise self._error(f"{doing}: OpenStack's answer is not JSON") from error
        return document if isinstance(document, dict) else {}


def _has_next(answer: Mapping[str, Any], key: str) -> bool:
    """Whether the answer links to a further one."""
    links: Sequence[Any] = answer.get(f"{key}_links", ())
    return any(isinstance(link, dict) and link.get("rel") == "next" for link in links)
