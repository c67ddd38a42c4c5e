# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask instances whether they are well: a real HTTP request or TCP connection each, all at the same time."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from .._definition.model import Health, HttpProbe

MOST_AT_ONCE = 32


def probe_all(endpoints: Mapping[str, Mapping[int, tuple[str, int]]], health: Health) -> dict[str, bool | str]:
    """For each instance id True, or why its probe failed.

    Args:
        endpoints: by instance id, guest port -> (address, port) to reach it.
    """
    if not endpoints:
        return {}
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(endpoints))) as pool:
        return dict(zip(endpoints, pool.map(lambda ports: probe(ports, health), endpoints.values()), strict=True))


def probe(ports: Mapping[int, tuple[str, int]], health: Health) -> bool | str:
    """One instance, asked in every way that its health declares. No proxy is used and no redirect followed."""
    for port in [each.port for each in (health.http, health.tcp) if each]:
        if port not in ports:
            return f"port {port} cannot be reached from here"
    try:
        if health.http:
            result = _http(ports[health.http.port], health.http, health.timeout)
            if result is not True:
                return result
        if health.tcp:
            socket.create_connection(ports[health.tcp.port], timeout=health.timeout).close()
    except TimeoutError:
        return f"no answer within {health.timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    return True


def _http(address: tuple[str, int], wanted: HttpProbe, timeout: float) -> bool | str:
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", wanted.path, headers={"Connection": "close", "User-Agent": "immutable-probe"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return True if status in wanted.status else f"GET {wanted.path} answered {status}"
