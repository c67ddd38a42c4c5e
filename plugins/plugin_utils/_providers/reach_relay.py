# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connects a guest with one declared address: QEMU starts this program for each connection, with it as standard input.

    reach-relay HOST PORT

It is copied beside a machine, so it uses the standard library only. The name is resolved for each connection, and an
address of this machine's loopback is refused each time.
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
    other = {guest: peer, peer: guest}
    reading = [guest, peer]
    while reading:
        for each in select.select(reading, [], [])[0]:
            data = each.recv(_CHUNK)
            if data:
                other[each].sendall(data)
            else:
                reading.remove(each)
                other[each].shutdown(socket.SHUT_WR)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    except OSError:
        sys.exit(1)
