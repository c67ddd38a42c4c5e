# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTTP or HTTPS request to an instance, and whether its answer is what a healthy service answers."""

from __future__ import annotations

import functools
import http.client
import ssl

from ...module_utils._plain_text import plain_line
from .._definition.probes import MAX_BODY, HttpProbe, Https
from .deadline_socket import Address, DeadlineSocket

MAX_HEAD = 65536  # bytes of an answer's status line and headers
_READ_AHEAD = 8192  # bytes, the buffer of http.client
_MAX_SHOWN = 60  # characters of an unexpected body in a message
_HEADERS = {"Connection": "close", "User-Agent": "immutable-probe"}


def http_exchange(address: Address, wanted: HttpProbe, deadline: float) -> bool | str:
    """Make one request. Uses no proxy and follows no redirect.

    Args:
        deadline: on the monotonic clock, for everything.

    Returns True, or the reason why the answer is not that of a healthy service. Raises TimeoutError, AnswerTooLong,
    OSError, http.client.HTTPException and ValueError.
    """
    limit = MAX_HEAD + (MAX_BODY + _READ_AHEAD if wanted.contains else 0)
    with DeadlineSocket(address, deadline, limit) as connection:
        if wanted.https is None:
            return _ask(address, connection, wanted)
        try:
            with connection.secured(_context(wanted.https), wanted.https.server_name) as secured:
                return _ask(address, secured, wanted)
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not accepted: {plain_line(error.verify_message)}"
        except ssl.SSLError as error:
            return f"TLS failed: {plain_line(error.reason or str(error)).lower().replace('_', ' ')}"


def _ask(address: Address, connection: DeadlineSocket | ssl.SSLSocket, wanted: HttpProbe) -> bool | str:
    client = http.client.HTTPConnection(*address)
    client.sock = connection
    client.request(wanted.method, wanted.path, headers=wanted.all_headers(_HEADERS))
    with client.getresponse() as answer:
        if not wanted.accepts(answer.status):
            codes = ", ".join(map(str, wanted.status))
            return f"{wanted.method} {wanted.path} answered {answer.status} (expected: {codes})"
        return _body_contains(answer, wanted) if wanted.contains else True


def _body_contains(answer: http.client.HTTPResponse, wanted: HttpProbe) -> bool | str:
    expected, body = wanted.contains.encode(), b""
    while len(body) < MAX_BODY and (part := answer.read1(MAX_BODY - len(body))):
        body += part
        if expected in body:
            return True
    shown = plain_line(body[: 4 * _MAX_SHOWN].decode("utf-8", "replace"))[:_MAX_SHOWN]
    begins = f"it begins with {shown!r}" if body else "it is empty"
    return f"{wanted.method} {wanted.path} answered {answer.status}, but its body lacks {wanted.contains!r}; {begins}"


@functools.lru_cache(maxsize=64)
def _context(https: Https) -> ssl.SSLContext:
    """Parsing a bundle takes longer than a probe, and a fleet is probed again and again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if not https.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif https.ca:
        context.load_verify_locations(cadata=https.ca)
    else:
        context.load_default_certs()
    return context
