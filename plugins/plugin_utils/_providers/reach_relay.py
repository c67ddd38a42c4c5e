# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connects a guest with one declared address: QEMU starts this program for each connection, with it as standard input.

    reach-relay HOST PORT

It is in the environment of QEMU, so it is small and uses the standard library only. The name is resolved for each
connection, and an address of this machine's loopback is refused each time.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import sys

_TIMEOUT = 30.0  # seconds to connect
_CHUNK = 65536


def addresses(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host. Raises OSError if there is none, or if one of them is the loopback."""
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    for each in found:
        address = ipaddress.ip_address(each.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if mapped.is_loopback or mapped.is_unspecified or (mapped.version == 4 and int(mapped) >> 24 == 0):
            raise OSError(errno.EACCES, f"{host} is the controller's loopback ({each}), which no guest may reach")
    return sorted(found)


def main(host: str, port: int) -> int:
    """Copy bytes in both directions until both ends are closed."""
    guest = socket.socket(fileno=os.dup(0))
    peer = None
    for address in addresses(host, port):
        try:
            peer = socket.create_connection((address, port), timeout=_TIMEOUT)
            break
        except OSError:
            continue
    if peer is None:
        return 1
    peer.settimeout(None)
    ends = {each.fileno(): each for each in (guest, peer)}
    other = {guest: peer, peer: guest}
    poll, reading = select.poll(), 2
    for each in other:
        _notice_a_dead_end(each)
        poll.register(each, select.POLLIN)
    while reading:
        for number, event in poll.poll():
            each = ends[number]
            data = each.recv(_CHUNK) if event & select.POLLIN else b""
            if data:
                other[each].sendall(data)
            elif event & select.POLLIN:
                poll.modify(each, 0)  # errors are still reported
                reading -= 1
                other[each].shutdown(socket.SHUT_WR)
            else:
                return 1  # QEMU or the host has ended, perhaps after one direction was closed
    return 0


def _notice_a_dead_end(end: socket.socket) -> None:
    """Ask an idle end from time to time whether it still exists. QEMU is not the parent of this process."""
    if end.family == socket.AF_UNIX:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6)):
        end.setsockopt(socket.IPPROTO_TCP, option, value)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    except OSError:
        sys.exit(1)
