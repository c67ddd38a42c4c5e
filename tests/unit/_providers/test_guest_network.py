# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What guests on this machine can reach."""

from __future__ import annotations

import shlex
import socket
import struct
import subprocess
import threading
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import reach_relay
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.frame_filter import FrameFilter
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_network import (
    check_reach,
    guest_addresses,
    is_own_address,
    netdev,
    passes,
)
from hypothesis import given
from hypothesis import strategies as st

TCP, UDP, ICMP, SCTP = 6, 17, 1, 132
SYN, ACK, SYN_ACK, RST = 0x02, 0x10, 0x12, 0x04
OWN = IPv4Address("192.0.2.2")


def frame(
    target: str, port: int, protocol: int = TCP, *, flags: int = SYN, fragment: int = 0, options: int = 0
) -> bytes:
    """An Ethernet frame of a guest. ``options``: words of IP options."""
    ports = (40000).to_bytes(2, "big") + port.to_bytes(2, "big")
    body = ports + bytes(8) + bytes([0x50, flags]) + bytes(6)
    head = bytes([0x45 + options, 0, 0, 40, 0, 1]) + fragment.to_bytes(2, "big") + bytes([64, protocol, 0, 0])
    addresses = IPv4Address("10.0.2.15").packed + IPv4Address(target).packed
    return bytes(12) + b"\x08\x00" + head + addresses + bytes(4 * options) + body


def check(data: bytes, *reach: str) -> bool:
    return passes(data, guest_addresses(dict.fromkeys(reach, "db.example.com:1")), lambda target: target == OWN)


@pytest.mark.parametrize("options", [0, 3])
@pytest.mark.parametrize(
    "target",
    ["10.0.2.2", "10.0.2.100", "10.0.2.1", "127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "192.0.2.2", "224.0.0.1"],
)
def test_no_connection_to_the_controller_passes(target: str, options: int) -> None:
    for protocol in (TCP, UDP, ICMP, SCTP):
        assert not check(frame(target, 22, protocol, options=options))
    assert not check(frame(target, 22, fragment=0x2000)), "the rest of the header may follow in another fragment"
    assert not check(frame(target, 22, fragment=1))


def test_what_a_build_machine_needs_passes() -> None:
    assert check(frame("198.51.100.7", 443)) and check(frame("198.51.100.7", 123, UDP))
    assert check(frame("255.255.255.255", 67, UDP)) and check(frame("10.0.2.2", 67, UDP)), "DHCP"
    assert check(frame("10.0.2.3", 53, UDP)) and check(frame("10.0.2.3", 53, TCP)), "DNS"
    assert check(frame("10.0.2.2", 40000, flags=SYN_ACK)) and check(frame("10.0.2.2", 40000, flags=ACK)), "answers"
    assert check(bytes(12) + b"\x08\x06" + bytes(28)), "ARP"


def test_the_resolver_answers_nothing_but_dns() -> None:
    assert not check(frame("10.0.2.3", 22, TCP))
    assert not check(frame("10.0.2.3", 67, UDP))


def test_only_a_declared_address_and_port_passes() -> None:
    assert check(frame("10.0.2.100", 5432), "10.0.2.100:5432")
    assert not check(frame("10.0.2.100", 5433), "10.0.2.100:5432")
    assert not check(frame("10.0.2.101", 5432), "10.0.2.100:5432")
    assert not check(frame("10.0.2.100", 5432, UDP), "10.0.2.100:5432")


@given(st.binary(max_size=80), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x00\x2e"]))
def test_what_cannot_be_read_does_not_pass(rest: bytes, kind: bytes) -> None:
    data = bytes(12) + kind + rest
    if kind != b"\x08\x00" or len(rest) < 28:
        assert not check(data)
    else:
        assert check(data) in (True, False)


def test_own_addresses_are_recognized() -> None:
    assert is_own_address(IPv4Address("127.0.0.1"))
    assert not is_own_address(IPv4Address("198.51.100.7"))


def test_the_network_of_an_instance_is_restricted_and_has_only_what_is_declared() -> None:
    text = netdev("net", {"2222": "22"}, {"10.0.2.100:5432": "db.example.com:5432"}, restrict=True)
    assert text.startswith(
        "user,id=net,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22,guestfwd=tcp:10.0.2.100:5432-cmd:"
    )
    assert text.endswith(" db.example.com 5432")
    assert netdev("net", {}, {}, restrict=False) == "user,id=net,ipv6=off"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1"])
def test_the_loopback_is_never_declared(host: str) -> None:
    with pytest.raises(ProviderError, match=f"reach: {host}:22 .*is the controller's loopback"):
        check_reach({"10.0.2.100:22": f"{host}:22"})


def test_a_name_that_resolves_to_the_loopback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        answer = [(family, socket.SOCK_STREAM, 6, "", (address, 22)), (socket.AF_INET, 1, 6, "", ("198.51.100.7", 22))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_names, answer=answer, **_more: answer)
        with pytest.raises(ProviderError, match="db.example.com is the controller's loopback"):
            check_reach({"10.0.2.100:22": "db.example.com:22"})


def test_the_relay_copies_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_relay, "addresses", lambda host, _port: [host])
    with socket.create_server(("127.0.0.1", 0)) as server:
        guest, end = socket.socketpair()
        monkeypatch.setattr("os.dup", lambda _fd: end.detach())
        guest.sendall(b"question")
        guest.shutdown(socket.SHUT_WR)
        server.settimeout(60)
        relay = threading.Thread(target=reach_relay.main, args=("127.0.0.1", server.getsockname()[1]))
        relay.start()
        peer, _address = server.accept()
        with peer, guest:
            assert peer.makefile("rb").read() == b"question"
            peer.sendall(b"answer")
            peer.shutdown(socket.SHUT_WR)
            assert guest.makefile("rb").read() == b"answer"
        relay.join(60)


def test_the_relay_ends_with_qemu_although_the_host_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest has closed its direction before, so nothing is read from QEMU any more."""
    monkeypatch.setattr(reach_relay, "addresses", lambda host, _port: [host])
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as slirp:
        guest = socket.create_connection(slirp.getsockname())
        end, _address = slirp.accept()
        monkeypatch.setattr("os.dup", lambda _fd: end.detach())
        relay = threading.Thread(target=reach_relay.main, args=("127.0.0.1", server.getsockname()[1]), daemon=True)
        relay.start()
        peer, _address = server.accept()
        with peer:
            guest.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            guest.close()  # as the kernel does for a process that ends: the other end notices it sooner or later
            relay.join(60)
            assert not relay.is_alive()


def test_the_relay_asks_whether_qemu_still_exists() -> None:
    with socket.create_server(("127.0.0.1", 0)) as slirp, socket.create_connection(slirp.getsockname()) as end:
        reach_relay._notice_a_dead_end(end)
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_qemu_cuts_no_command() -> None:
    """It copies the text of one forwarding into 1024 bytes."""
    text = netdev("net", {}, {"10.0.2.100:65535": f"{'a' * 253}:65535"}, restrict=True)
    assert len(text.partition("guestfwd=")[2]) < 1024


def relay_command(target: str) -> list[str]:
    """The command as QEMU reads it."""
    text = netdev("net", {}, {"10.0.2.100:1": target}, restrict=True).replace(",,", ",")
    return shlex.split(text.partition("-cmd:")[2])


def test_the_relay_runs_by_itself_and_refuses_the_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = relay_command(f"localhost:{server.getsockname()[1]}")
        assert subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, timeout=120).returncode == 1
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_frames_that_pass_reach_the_other_socket_and_the_others_do_not(tmp_path: Path) -> None:
    with FrameFilter(tmp_path, lambda data: data.startswith(b"good")).running() as filtered:
        assert [option for option, _value in filtered.options("user.0")] == [
            "-chardev",
            "-chardev",
            "-object",
            "-object",
        ]
        out, back = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        with out, back:
            out.connect(str(tmp_path / "net.out"))
            back.connect(str(tmp_path / "net.in"))
            for data in (b"good 1", b"bad", b"good 2"):
                out.sendall(struct.pack(">I", len(data)) + data)
            out.sendall(struct.pack(">I", 1 << 30))  # longer than a frame can be
            back.settimeout(60)
            received = back.makefile("rb").read()
    assert received == b"\0\0\0\x06good 1\0\0\0\x06good 2"
    assert list(tmp_path.iterdir()) == []


def test_a_sender_that_does_not_read_is_never_blocked(tmp_path: Path) -> None:
    """QEMU sends and receives in one thread: a filter that waits for it would stop both."""
    data = struct.pack(">I", 1500) + bytes(1500)
    with FrameFilter(tmp_path, lambda _data: True).running():
        out, back = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        with out, back:
            out.settimeout(60)
            back.settimeout(60)
            out.connect(str(tmp_path / "net.out"))
            back.connect(str(tmp_path / "net.in"))
            for _frame in range(3000):
                out.sendall(data)
            out.shutdown(socket.SHUT_WR)
            assert back.makefile("rb").read() == data * 3000


def test_a_filter_that_nobody_connects_to_ends(tmp_path: Path) -> None:
    with FrameFilter(tmp_path, lambda _data: True).running():
        pass
    with pytest.raises(ProviderError, match="cannot make the build machine's network"):
        with FrameFilter(tmp_path / "absent", lambda _data: True).running():
            pass
