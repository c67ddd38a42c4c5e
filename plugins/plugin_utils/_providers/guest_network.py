# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of guests on this machine: what they can reach.

QEMU's user network connects to whatever a guest names, as a process of this machine: 10.0.2.2 is this machine's
loopback, and so is 127.0.0.1 sent through the gateway. So an instance gets a restricted network with no way out but the
addresses that its definition declares. A build machine needs package mirrors: its frames pass ``FrameFilter``, which
drops what is for this machine.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import sys
from collections.abc import Callable, Mapping

from ...module_utils._program_source import source_of
from .._core.errors import ProviderError
from .._core.unprivileged import python_for_others
from . import reach_relay

LOOPBACK = "127.0.0.1"
_GUESTS = ipaddress.IPv4Network("10.0.2.0/24")  # QEMU's user network
_HOST, _RESOLVER = ipaddress.IPv4Address("10.0.2.2"), ipaddress.IPv4Address("10.0.2.3")
_DHCP_SERVER, _DNS = 67, 53
_IPV4, _ARP = b"\x08\x00", b"\x08\x06"
_ETHERNET, _HEADER = 14, 20  # bytes of the headers
_TCP, _UDP, _ICMP = 6, 17, 1
_SYN, _ACK = 0x02, 0x10
_RELAY_SOURCE = "IMMUTABLE_REACH_RELAY"  # a variable of the environment
RELAY = "reach-relay.py"  # a file beside the machines of earlier releases


def netdev(name: str, ports: Mapping[str, str], reach: Mapping[str, str], *, restrict: bool) -> str:
    """Return the value of QEMU's ``-netdev``.

    Args:
        ports: port of the guest by the port of this machine's loopback that is forwarded to it.
        reach: what the guest can reach: ``host:port`` by the ``address:port`` at which the guest sees it.
        restrict: whether the guest reaches nothing else.
    """
    options = ["user", f"id={name}", "ipv6=off", *(["restrict=on"] if restrict else [])]
    options += [f"hostfwd=tcp:{LOOPBACK}:{host}-:{guest}" for host, guest in ports.items()]
    for seen, meant in reach.items():
        host, _colon, port = meant.rpartition(":")
        command = shlex.join([*_relay_command(), host, port])
        options.append(f"guestfwd=tcp:{seen}-cmd:{command}")
    return ",".join(map(escaped, options))


def free_ports(count: int) -> list[int]:
    """Different free ports of the loopback address. Another process may take one before it is bound."""
    sockets = [socket.socket() for _port in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def escaped(value: object) -> str:
    """Return a value for QEMU's options, in which a comma ends a value."""
    return str(value).replace(",", ",,")


def _relay_command() -> list[str]:
    """The command that runs the relay, short because QEMU cuts the text of a forwarding at 1023 bytes.

    The program is in the environment, which QEMU inherits and passes on: QEMU's user may read no file of this
    collection, and a machine outlives this version of it.
    """
    os.environ[_RELAY_SOURCE] = source_of(reach_relay)
    run = f"import os;exec(os.environ[{_RELAY_SOURCE!r}])"
    return [python_for_others() or sys.executable, "-I", "-S", "-c", run]


def check_reach(reach: Mapping[str, str]) -> None:
    """Raise ProviderError for a declared address that is this machine's loopback, or a name that resolves to it."""
    for meant in reach.values():
        host, _colon, port = meant.rpartition(":")
        try:
            reach_relay.addresses(host, int(port))
        except OSError as error:
            raise ProviderError(f"reach: {meant} cannot be offered to guests: {error.strerror or error}") from error


def guest_addresses(reach: Mapping[str, str]) -> frozenset[tuple[ipaddress.IPv4Address, int]]:
    """Return where the guest sees what it can reach."""
    pairs = (seen.rpartition(":") for seen in reach)
    return frozenset((ipaddress.IPv4Address(address), int(port)) for address, _colon, port in pairs)


def is_own_address(address: ipaddress.IPv4Address) -> bool:
    """Return whether this machine itself answers at an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def passes(
    frame: bytes,
    reach: frozenset[tuple[ipaddress.IPv4Address, int]] = frozenset(),
    is_own: Callable[[ipaddress.IPv4Address], bool] = is_own_address,
) -> bool:
    """Return whether a frame of a build machine may go out.

    It may not begin a connection to this machine: neither to its alias in the user network, nor to its loopback, nor
    to any other address of it. What cannot be read for certain does not pass: fragments, IPv6, other protocols.

    Args:
        reach: declared addresses and ports within the user network.
    """
    if frame[12:_ETHERNET] == _ARP:
        return True
    packet = frame[_ETHERNET:]
    if frame[12:_ETHERNET] != _IPV4 or len(packet) < _HEADER or packet[0] >> 4 != 4:
        return False
    length = (packet[0] & 15) * 4
    body = packet[length:]
    if length < _HEADER or int.from_bytes(packet[6:8], "big") & 0x3FFF or len(body) < 8:
        return False
    protocol, target = packet[9], ipaddress.IPv4Address(packet[16:20])
    port = int.from_bytes(body[2:4], "big")
    if target in _GUESTS or target == ipaddress.IPv4Address("255.255.255.255"):
        return _passes_inside(protocol, target, port, body) or (protocol == _TCP and (target, port) in reach)
    if (
        target.is_loopback
        or target.is_multicast
        or target.is_unspecified
        or target.is_reserved
        or int(target) >> 24 == 0
    ):
        return False
    return protocol in (_TCP, _UDP, _ICMP) and not is_own(target)


def _passes_inside(protocol: int, target: ipaddress.IPv4Address, port: int, body: bytes) -> bool:
    """Within the user network: DHCP, DNS, and answers to the connections that this machine made."""
    if protocol == _UDP:
        return port == _DHCP_SERVER if target != _RESOLVER else port == _DNS
    if protocol != _TCP or len(body) < _HEADER:
        return False
    if target == _RESOLVER:
        return port == _DNS
    return target == _HOST and body[13] & (_SYN | _ACK) != _SYN
