# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's configuration file, rendered from a fleet's traffic and health settings.

Source: HAProxy Configuration Manual, https://docs.haproxy.org/2.6/configuration.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..._core.errors import TrafficError
from ..._definition.model import Health, TcpProbe

BACKEND = "members"
SOCKET = "admin.sock"  # relative to HAProxy's working directory: the address of a socket is limited to 107 bytes
ROOT = "root"  # an empty folder, relative to HAProxy's working directory
MAX_TIMER = 2**31 - 1  # milliseconds
CHECK = "check inter 1s rise 1 fall 3"  # of each member; the engine probes a member before it registers it


@dataclass(frozen=True)
class TakenOver:
    """A member that a new process takes over from the previous one."""

    id: str
    address: tuple[str, int]
    draining: bool


def render(fleet: str, bind: str, port: int, health: Health, *, members: Iterable[TakenOver] = ()) -> str:
    """The complete file. Raises TrafficError for a health path that cannot be written into it.

    HAProxy retries nothing and sends no request to a second member: each client sees its own errors. Each request
    gets a connection of its own, so none is lost when a member closes an idle connection.
    """
    mode = "http" if health.http else "tcp"
    lines = [
        "global",
        f"    stats socket unix@{SOCKET} mode 600 level admin expose-fd listeners",
        "    stats timeout 1m",
        "    hard-stop-after 1m",
        "defaults",
        f"    mode {mode}",
        "    retries 0",
        "    timeout connect 5s",
        "    timeout client 1m",
        "    timeout server 2m",
        "    timeout tunnel 1h",
        f"    timeout check {min(max(1, round(health.timeout * 1000)), MAX_TIMER)}ms",
        *(
            ["    timeout http-request 30s", "    option http-server-close", "    option forwardfor"]
            if health.http
            else []
        ),
        # When another process takes over, close an idle connection only after the answer to its next request.
        *(["    option idle-close-on-response"] if health.http else []),
        f"frontend {fleet}",
        f"    bind {bracketed(bind)}:{port}",
        f"    default_backend {BACKEND}",
        f"backend {BACKEND}",
        "    balance roundrobin",
        *_check(fleet, health),
        *(f"    {_server_line(member)}" for member in members),
    ]
    return "\n".join(lines) + "\n"


def confined(config: str, user: int) -> str:
    """Return the configuration of a process that gives up root after it has opened its sockets.

    It keeps no file system but ``ROOT``, an empty folder.

    Args:
        user: number of its user and its group.
    """
    first, rest = config.split("\n", 1)
    return "\n".join([first, f"    uid {user}", f"    gid {user}", f"    chroot {ROOT}", rest])


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _check(fleet: str, health: Health) -> list[str]:
    if health.http is None:
        return _tcp_check(health.tcp)
    path = health.http.path
    if not path.isprintable() or "'" in path or " " in path:
        raise TrafficError(
            f"health.http.path: {path!r} cannot be requested (allowed: printable characters without spaces and quotes)"
        )
    codes = ",".join(map(str, health.http.status))
    return [
        "    option httpchk",
        f"    http-check send meth GET uri '{path}' ver HTTP/1.1 hdr Host {fleet} hdr User-Agent immutable-balancer",
        f"    http-check expect status {codes}",
    ]


def _tcp_check(probe: TcpProbe | None) -> list[str]:
    """The same exchange as the prober's: the answer, up to the size of a buffer, must contain the expected bytes."""
    if probe is None or not probe.expect:
        return ["    option tcp-check"]
    return [
        "    option tcp-check",
        "    tcp-check connect",
        *([f"    tcp-check send-binary {probe.send}"] if probe.send else []),
        f"    tcp-check expect binary {probe.expect}",
    ]


def _server_line(member: TakenOver) -> str:
    """A member in service is unchecked: it was registered under other health settings and may not pass these.

    A draining or staged member must pass these checks before it gets requests.
    """
    address, port = member.address
    return f"server {member.id} {bracketed(address)}:{port}" + (f" disabled {CHECK}" if member.draining else "")
