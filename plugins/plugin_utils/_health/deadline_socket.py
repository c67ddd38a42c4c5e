# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""TCP and TLS connections that end by one deadline and receive a limited number of bytes, however slowly they arrive.

The timeout of a plain socket starts again with each byte, so a peer that sends a byte now and then can hold a reader
forever.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

Address = tuple[str, int]  # a numeric address, since a name lookup has no deadline, and a port


class AnswerTooLong(Exception):
    """The peer sent more than the limit."""


class ConnectTimeout(TimeoutError):
    """Nothing answered the connection itself, as if no network led there."""


class _Limited(socket.socket):
    """What both kinds of connections have in common."""

    _deadline: float
    _limit: int
    _left: int

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._set_remaining()
        super().sendall(data, flags)  # its timeout is a total one

    def recv(self, bufsize: int = 4096, flags: int = 0) -> bytes:
        self._set_remaining()
        data = super().recv(min(bufsize, self._left + 1), flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int | None = 0, flags: int = 0) -> int:
        self._set_remaining()
        size = super().recv_into(buffer, nbytes or len(buffer), flags)
        self._count(size)
        return size

    def _limit_to(self, deadline: float, limit: int) -> None:
        self._deadline, self._limit, self._left = deadline, limit, limit

    def _set_remaining(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.settimeout(remaining)

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise AnswerTooLong(f"the answer has more than {self._limit} bytes")


class DeadlineSocket(_Limited):
    """Connected once it is created.

    Args:
        deadline: on the monotonic clock, for everything: the connection, what is sent and what is received.
        limit: bytes that may be received.

    Raises TimeoutError after the deadline (ConnectTimeout if there is no connection by then), AnswerTooLong above the
    limit, and OSError.
    """

    def __init__(self, address: Address, deadline: float, limit: int) -> None:
        super().__init__(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        self._limit_to(deadline, limit)
        try:
            self._set_remaining()
            self.connect(address)
        except TimeoutError as error:
            self.close()
            raise ConnectTimeout from error
        except BaseException:
            self.close()
            raise

    def end_by(self, deadline: float) -> None:
        """Set another deadline for what is sent and received from now on."""
        self._deadline = deadline

    def secured(self, context: ssl.SSLContext, server_name: str) -> DeadlineTlsSocket:
        """This connection after a TLS handshake, which is part of the same deadline. This object is closed.

        Args:
            server_name: sent as SNI, and what a verified certificate must be valid for; "" for none.

        Raises ssl.SSLCertVerificationError, ssl.SSLError and what the socket raises.
        """
        self._set_remaining()
        context.sslsocket_class = DeadlineTlsSocket
        secured = context.wrap_socket(self, server_hostname=server_name or None, do_handshake_on_connect=False)
        if not isinstance(secured, DeadlineTlsSocket):  # does not happen, because the context makes these
            raise TypeError("not a socket with a deadline")
        try:
            secured._limit_to(self._deadline, self._limit)
            secured._set_remaining()
            secured.do_handshake()  # its timeout is a total one
        except BaseException:
            secured.close()
            raise
        return secured


class DeadlineTlsSocket(_Limited, ssl.SSLSocket):
    """A ``DeadlineSocket`` after its handshake. The limit counts what is decrypted."""
