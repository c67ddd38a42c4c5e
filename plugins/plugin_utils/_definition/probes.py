# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health checks of a definition as frozen data. Durations are in seconds.

The field names are also keys of results, and of the tag that says how an instance is probed: do not rename them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from .._core.errors import DefinitionError

Method = Literal["GET", "HEAD"]

METHODS: tuple[Method, ...] = get_args(Method)
MAX_EXCHANGE = 16384  # bytes of the answer to a TCP probe; the size of HAProxy's buffer
MAX_BODY = 8192  # bytes of the body of an HTTP answer; HAProxy's buffer holds its headers as well
MAX_TEXT = 256  # characters that a body must contain
# Headers that determine how a request or its answer is read. The probe sends them itself, or does without them.
RESERVED_HEADERS = (
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


def with_headers(defaults: Mapping[str, str], own: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of a request: ``own``, and those of ``defaults`` that they do not replace in any spelling."""
    headers = dict(own)
    replaced = {name.lower() for name in headers}
    return {**{name: value for name, value in defaults.items() if name.lower() not in replaced}, **headers}


@dataclass(frozen=True)
class Https:
    """How an HTTPS probe recognizes the service."""

    server_name: str = ""  # sent as SNI, and what the certificate must be valid for; "" only without verification
    ca: str = ""  # PEM text of the certificates of the accepted CAs; "" for those of the system
    verify: bool = True  # whether the certificate is verified at all

    @property
    def fingerprint(self) -> str:
        """Identity of the accepted CAs: ``sha256:<hex>``, or "" for those of the system."""
        return f"sha256:{hashlib.sha256(self.ca.encode()).hexdigest()}" if self.ca else ""

    def as_dict(self) -> dict[str, Any]:
        """The fields for tags and results, with the fingerprint of the CAs. Defaults are left out."""
        fields = {"server_name": self.server_name, "ca": self.fingerprint}
        return {**{key: value for key, value in fields.items() if value}, **({} if self.verify else {"verify": False})}


@dataclass(frozen=True)
class HttpProbe:
    """An HTTP request to an instance, and what a healthy service answers."""

    port: int
    path: str = "/"
    status: tuple[int | str, ...] = (200,)  # status codes, and ranges of them such as "200-299"
    method: Method = "GET"
    headers: tuple[tuple[str, str], ...] = ()  # names and values; they replace the probe's own of the same name
    contains: str = ""  # what the first MAX_BODY bytes of the body must contain, in UTF-8; "" for anything
    https: Https | None = None  # None: plain HTTP

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status code means healthy."""
        for each in self.status:
            first, _dash, last = str(each).partition("-")
            if int(first) <= status <= int(last or first):
                return True
        return False

    def all_headers(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request: ``defaults``, overridden by the probe's.

        ``Host`` is the server name of an HTTPS probe unless the probe sets another one.
        """
        host = {"Host": self.https.server_name} if self.https and self.https.server_name else {}
        return with_headers({**defaults, **host}, self.headers)

    def extras(self) -> dict[str, Any]:
        """The fields of later releases as plain data. Defaults are left out."""
        fields = {
            "method": "" if self.method == "GET" else self.method,
            "headers": dict(self.headers),
            "contains": self.contains,
        }
        https = {} if self.https is None else {"https": self.https.as_dict()}
        return {**{key: value for key, value in fields.items() if value}, **https}

    def as_dict(self) -> dict[str, Any]:
        """The fields for tags and results."""
        return {"port": self.port, "path": self.path, "status": self.status, **self.extras()}


@dataclass(frozen=True)
class TcpProbe:
    """A TCP exchange with an instance. Bytes are written as hexadecimal digits, for tags and results."""

    port: int
    send: str = ""  # bytes that are sent once connected; only with ``expect``
    expect: str = ""  # bytes that the answer must contain; "" if a connection is enough


@dataclass(frozen=True)
class Health:
    """The health checks of an instance. At least one of ``http`` and ``tcp`` is set."""

    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    timeout: float = 5.0  # of one probe
    boot_deadline: float = 300.0  # from the launch to the sealed evidence
    # From the sealed evidence, or from the attachment of the volumes, to the first passing probe.
    deadline: float = 120.0

    def as_dict(self) -> dict[str, Any]:
        """The fields for tags and results. What a probe does not send or expect is left out."""
        fields = asdict(self)
        if self.http:
            fields["http"] = self.http.as_dict()
        if self.tcp:
            fields["tcp"] = {key: value for key, value in fields["tcp"].items() if value != ""}
        return fields

    @property
    def only_connects(self) -> bool:
        """Whether a connection alone decides. It proves nothing where the network accepts it before the guest does."""
        return bool(self.tcp and not self.tcp.expect and not self.http)

    @property
    def https(self) -> Https | None:
        """How the service is recognized if it speaks HTTPS, or None."""
        return self.http.https if self.http else None

    @property
    def ports(self) -> tuple[int, ...]:
        """The probed ports, without duplicates."""
        return tuple(dict.fromkeys(probe.port for probe in (self.http, self.tcp) if probe))

    @property
    def port(self) -> int:
        """The port that receives traffic: the HTTP probe's, or else the TCP probe's.

        Raises DefinitionError if there is no probe.
        """
        probe = self.http or self.tcp
        if probe is None:  # the schema requires one
            raise DefinitionError("health: http or tcp is required")
        return probe.port
