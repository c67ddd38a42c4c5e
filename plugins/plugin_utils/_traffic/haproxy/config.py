# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's configuration file, rendered from a fleet's traffic and health settings.

Source: HAProxy Configuration Manual, https://docs.haproxy.org/2.6/configuration.html
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass

from ..._definition.probes import Health, Https, TcpProbe

BACKEND = "members"
_PLAIN = frozenset(string.ascii_letters + string.digits + "-_.:/%")
AUTHORITIES = "ca.pem"  # relative to HAProxy's working directory
SYSTEM_AUTHORITIES = "@system-ca"
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
    """Return the complete file.

    If the service speaks HTTPS, connections of clients are passed through as they are, and only checks are made by
    HTTPS. The file then needs the certificates of the CAs in ``AUTHORITIES`` beside it.

    HAProxy retries nothing and sends no request to a second member: each client sees its own errors. Each request
    gets a connection of its own, so none is lost when a member closes an idle connection.
    """
    http = speaks_http(health)
    mode = "http" if http else "tcp"
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
        *(["    timeout http-request 30s", "    option http-server-close", "    option forwardfor"] if http else []),
        # When another process takes over, close an idle connection only after the answer to its next request.
        *(["    option idle-close-on-response"] if http else []),
        f"frontend {fleet}",
        f"    bind {bracketed(bind)}:{port}",
        f"    default_backend {BACKEND}",
        f"backend {BACKEND}",
        "    balance roundrobin",
        *_check(fleet, health),
        *(f"    {_server_line(member, health)}" for member in members),
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


def speaks_http(health: Health) -> bool:
    """Whether HAProxy can read the requests of clients."""
    return health.http is not None and health.https is None


def check_options(health: Health) -> str:
    """The checks of a member, as options of its server."""
    return f"{CHECK}{_tls_options(health.https)}" if health.https else CHECK


def _tls_options(https: Https) -> str:
    name = f" check-sni {https.server_name}" if https.server_name else ""
    verify = f"required ca-file {_authorities(https)}" if https.verify else "none"
    return f" check-ssl{name} verify {verify}"


def _authorities(https: Https) -> str:
    return AUTHORITIES if https.ca else SYSTEM_AUTHORITIES


def _check(fleet: str, health: Health) -> list[str]:
    if health.http is None:
        return _tcp_check(health.tcp)
    probe = health.http
    path = probe.path.replace("'", "'\\x27'")  # printable ASCII without spaces, as the schema says
    codes = ",".join(map(str, probe.status))
    headers = probe.all_headers({"Host": fleet, "User-Agent": "immutable-balancer"})
    texts = " ".join(f"hdr {_word(name)} {_word(value.replace('%', '%%'))}" for name, value in headers.items())
    https = probe.https
    return [
        "    option httpchk",
        f"    http-check send meth {probe.method} uri '{path}' ver HTTP/1.1 {texts}",
        f"    http-check expect status {codes}",
        *([f"    http-check expect string {_word(probe.contains)}"] if probe.contains else []),
        # Members are added while HAProxy runs. It then accepts only those files that its configuration names.
        *([f"    default-server ca-file {_authorities(https)}"] if https and https.verify else []),
        *([f"    # {https.fingerprint}"] if https and https.ca else []),
    ]


def _word(text: str) -> str:
    """A text as one word of the file, in UTF-8, with escapes for all that could mean something else."""
    return "".join(chr(octet) if chr(octet) in _PLAIN else f"\\x{octet:02x}" for octet in text.encode())


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


def _server_line(member: TakenOver, health: Health) -> str:
    """A member in service is unchecked: it was registered under other health settings and may not pass these.

    A draining or staged member must pass these checks before it gets requests.
    """
    address, port = member.address
    return f"server {member.id} {bracketed(address)}:{port}" + (
        f" disabled {check_options(health)}" if member.draining else ""
    )
