# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe instances by HTTP requests and TCP connections, all at the same time."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from .._definition.model import Health, HttpProbe

MAX_THREADS = 32


def probe_all(endpoints: Mapping[str, Mapping[int, tuple[str, int]]], health: Health) -> dict[str, bool | str]:
    """By instance id True, or the reason why its probe failed.

    Args:
        endpoints: by instance id, guest port -> (address, port) to reach it.
    """
    if not endpoints:
        return {}
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(endpoints))) as pool:
        return dict(zip(endpoints, pool.map(lambda ports: probe(ports, health), endpoints.values()), strict=True))


def probe(ports: Mapping[int, tuple[str, int]], health: Health) -> bool | str:
    """Probe one instance in each way that its health declares. Uses no proxy and follows no redirect.

    Returns True, or the reason why the probe failed.
    """
    for port in [declared.port for declared in (health.http, health.tcp) if declared]:
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


def _http(address: tuple[str, int], http_probe: HttpProbe, timeout: float) -> bool | str:
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", http_probe.path, headers={"Connection": "close", "User-Agent": "immutable-probe"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return True if status in http_probe.status else f"GET {http_probe.path} answered {status}"
