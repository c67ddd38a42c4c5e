# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe instances by HTTP requests and TCP exchanges, all at the same time, each within one total deadline."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ...module_utils._plain_text import plain_line
from .._definition.probes import MAX_EXCHANGE, Health, TcpProbe
from .deadline_socket import Address, AnswerTooLong, ConnectTimeout, DeadlineSocket
from .http_exchange import http_exchange

MAX_THREADS = 256  # probes at the same time; up to this many, all of them take one timeout together
MAX_REASON = 200  # characters of an error's text
NO_CONNECTION = "no connection"  # how the reason begins if nothing answered the connection itself
REFUSAL = 0.5  # seconds in which a relayed connection is closed if nothing listens in the guest
Endpoints = Mapping[int, Address]  # guest port -> (address, port) to reach it


def probe_all(wanted: Mapping[str, tuple[Endpoints, Health]], relayed: bool = False) -> dict[str, bool | str]:
    """By instance id True, or the reason why its probe failed.

    Args:
        wanted: by instance id, its endpoints and its health.
        relayed: see ``probe``.
    """
    if not wanted:
        return {}
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(wanted))) as pool:
        results = pool.map(lambda each: probe(each[0], each[1], relayed), wanted.values())
        return dict(zip(wanted, results, strict=True))


def probe(endpoints: Endpoints, health: Health, relayed: bool = False) -> bool | str:
    """Probe one instance in each way that its health declares. Uses no proxy and follows no redirect.

    All of it, from the first connection to the last byte, ends within the timeout of the health.

    Args:
        relayed: the network accepts a connection before the guest does. A connection alone then proves nothing: a TCP
            probe without ``expect`` fails if there is no HTTP probe. Beside one, the connection must stay open.

    Returns True, or the reason why the probe failed.
    """
    for port in health.ports:
        if port not in endpoints:
            return f"port {port} cannot be reached from here"
    if relayed and health.tcp and health.only_connects:
        return (
            f"a connection to port {health.tcp.port} proves nothing, because the network accepts it before the guest "
            "does (needed: health.tcp.expect)"
        )
    deadline, asked = time.monotonic() + health.timeout, 0
    try:
        result: bool | str = True
        if health.http:
            asked = health.http.port
            result = http_exchange(endpoints[health.http.port], health.http, deadline)
        if health.tcp and result is True:
            asked = health.tcp.port
            address = endpoints[asked]
            if relayed and not health.tcp.expect:
                result = _stays_open(address, health.tcp, deadline)
            else:
                result = _tcp(address, health.tcp, deadline)
    except ConnectTimeout:
        return f"{NO_CONNECTION} within {health.timeout:g} s"
    except TimeoutError:
        return f"no answer within {health.timeout:g} s"
    except AnswerTooLong as error:
        return str(error)
    except OSError as error:
        return plain_line(f"the connection to port {asked} failed: {error.strerror or error}"[:MAX_REASON])
    except (http.client.HTTPException, ValueError) as error:
        return plain_line(f"{type(error).__name__}: {error}"[:MAX_REASON]).rstrip(": ")
    return result


def _tcp(address: Address, wanted: TcpProbe, deadline: float) -> bool | str:
    expected, received = bytes.fromhex(wanted.expect), b""
    with DeadlineSocket(address, deadline, MAX_EXCHANGE) as connection:
        if wanted.send:
            connection.sendall(bytes.fromhex(wanted.send))
        while expected not in received:
            part = connection.recv(4096)
            if not part:
                return f"port {wanted.port} closed the connection {_after(received)}, before the expected bytes"
            received += part
    return True


def _stays_open(address: Address, wanted: TcpProbe, deadline: float) -> bool | str:
    """Whether the guest lets a relayed connection open: if nothing listens there, the network closes it at once."""
    with DeadlineSocket(address, deadline, MAX_EXCHANGE) as connection:
        connection.end_by(min(deadline, time.monotonic() + REFUSAL))
        try:
            closed = not connection.recv(1)
        except TimeoutError:
            closed = False
    return f"port {wanted.port} closed the connection without an answer" if closed else True


def _after(received: bytes) -> str:
    return f"after {len(received)} bytes" if received else "without an answer"
