# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A declared address is reached through a real QEMU with its rights. The test sends the frames of a guest."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.unprivileged import user_for
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.confinement import (
    QEMU,
    giving_up_root,
    rights_for,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_network import netdev

pytestmark = pytest.mark.skipif(not shutil.which(QEMU), reason="needs QEMU")
GUEST_MAC, GATEWAY_MAC = b"\x52\x54\0\x12\x34\x56", b"\x52\x55\x0a\0\x02\x02"
GUEST, SEEN, PORT = "10.0.2.15", "10.0.2.100", 5432
SYN, ACK, FIN, RST = 2, 16, 1, 4
IPV4, ARP = b"\x08\0", b"\x08\x06"
SECONDS = 120.0


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def segment(sequence: int, acknowledged: int, flags: int) -> bytes:
    """A frame of the guest's connection to the declared address."""
    ends = socket.inet_aton(GUEST) + socket.inet_aton(SEEN)
    tcp = struct.pack("!HHIIBBHHH", *(4000, PORT, sequence, acknowledged, 5 << 4, flags, 64000, 0, 0))
    tcp = tcp[:16] + struct.pack("!H", checksum(ends + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH", *(0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0)) + ends
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return GATEWAY_MAC + GUEST_MAC + IPV4 + head + tcp


def answered(frames: socket.socket, qemu: tuple[str, int]) -> bytes:
    """Open a connection as a guest and return all that comes."""
    found = b""
    expected: int | None = None  # the number of the next byte: QEMU repeats what is not acknowledged in time
    frames.settimeout(1.0)
    for _second in range(int(SECONDS)):
        if expected is None:  # until QEMU listens
            frames.sendto(segment(100, 0, SYN), qemu)
        with suppress(TimeoutError):
            while True:
                frame = frames.recv(65536)
                if frame[12:14] == ARP and frame[20:22] == b"\0\1":
                    reply = struct.pack("!HHBBH", *(1, 0x800, 6, 4, 2)) + GUEST_MAC + frame[38:42] + frame[22:32]
                    frames.sendto(frame[6:12] + GUEST_MAC + ARP + reply, qemu)
                if frame[12:14] != IPV4:
                    continue
                _from, _to, sequence, _acknowledged, length, flags = struct.unpack("!HHIIBB", frame[34:48])
                data = frame[34 + (length >> 4) * 4 : 14 + int.from_bytes(frame[16:18], "big")]
                if expected in (None, sequence):
                    found += data
                    expected = sequence + len(data) + bool(flags & SYN)
                    if flags & FIN:
                        return found
                if flags & RST:
                    return found
                frames.sendto(segment(101, expected, ACK), qemu)
    return found


@pytest.mark.parametrize("restrict", [True, False], ids=["instance", "build machine"])
def test_a_declared_address_answers(tmp_path: Path, restrict: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # no packet is sent
        except OSError:
            pytest.skip("this machine has no address but its loopback")
        own = probe.getsockname()[0]
    with socket.create_server((own, 0)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as frames:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(b"an answer")

        threading.Thread(target=serve, daemon=True).start()
        frames.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            qemu = free.getsockname()
        reach = {f"{SEEN}:{PORT}": f"{own}:{server.getsockname()[1]}"}
        rights = rights_for(tmp_path, kvm=False, spawns=True)
        user, options, started_as = user_for(tmp_path), [*rights.options], rights.user
        if not restrict:  # Packer starts it
            options, started_as = giving_up_root(user, spawns=True), None
        argv = [QEMU, "-machine", "none", "-nodefaults", "-display", "none", *options]
        argv += ["-netdev", netdev("user", {}, reach, restrict=restrict)]
        host, port = frames.getsockname()
        argv += ["-netdev", f"socket,id=frames,udp={host}:{port},localaddr={qemu[0]}:{qemu[1]}"]
        argv += ["-netdev", "hubport,id=h1,hubid=0,netdev=user", "-netdev", "hubport,id=h2,hubid=0,netdev=frames"]
        identity = {} if started_as is None else {"user": started_as, "group": started_as, "extra_groups": []}
        with subprocess.Popen(argv, cwd="/", **identity) as running:
            try:
                assert answered(frames, qemu) == b"an answer"
            finally:
                running.kill()
