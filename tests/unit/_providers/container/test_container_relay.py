# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The relay of a container, within one network: what it does with connections."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.processes import process_start
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import relay, relay_traffic, relays
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until


@pytest.fixture
def relayed():
    """Returns a function that relays to a port. What it relays ends with the test."""
    threads, ends = [], []

    def to(port):
        listener = relay._listen(relay.LOOPBACK, 0)
        container, end = os.pipe()
        ends.append(end)
        serve = relay_traffic.Inward({listener: port}).serve
        threads.append(threading.Thread(target=serve, args=(container, None)))
        threads[-1].start()
        return listener.getsockname()

    yield to
    for end in ends:
        os.close(end)  # the container ends
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_both_directions_are_relayed_until_both_have_ended(relayed):
    data = os.urandom(1 << 20)
    with socket.create_server((relay.LOOPBACK, 0)) as server:
        client = socket.create_connection(relayed(server.getsockname()[1]), PATIENCE)
        guest, _address = server.accept()
        guest.settimeout(PATIENCE)
        with client, guest:
            writer = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            writer.start()
            assert b"".join(iter(lambda: guest.recv(65536), b"")) == data
            writer.join()
            guest.sendall(b"answer")  # after the client has ended its half
            guest.close()
            assert b"".join(iter(lambda: client.recv(65536), b"")) == b"answer"


def test_a_container_has_a_bounded_number_of_connections_to_declared_addresses():
    """Each is a process outside of the container, which no limit of the container counts."""
    listener = relay._listen(relay.LOOPBACK, 0)
    place, (container, end), pair = listener.getsockname(), os.pipe(), socket.socketpair()
    program = compile("def main(host, port):\n import os, time\n os.read(0, 1)\n return 0", "reach", "exec")
    server = os.fork()
    if server == 0:
        os.setpgid(0, 0)
        os.close(end)
        relay_traffic.MAX_OUTWARD = 3
        relay_traffic.Outward([listener], {listener.fileno(): ("h", ":", "1")}, program).serve(container, pair[1])
        os._exit(0)
    os.close(container)
    listener.close()
    clients = [socket.create_connection(place, PATIENCE) for _number in range(6)]
    try:
        children = Path(f"/proc/{server}/task/{server}/children")
        until(lambda: len(children.read_text().split()) == 3)
        # One that ends makes room for the next, and each of them gets its turn.
        for client in clients:
            client.sendall(b"x")
            assert client.recv(1) == b""
        until(lambda: not children.read_text().split())
    finally:
        os.close(end)  # the container ends
        os.waitpid(server, 0)
        for client in clients:
            client.close()


def test_a_refused_connection_is_reset(relayed):
    with socket.socket() as taken:
        taken.bind((relay.LOOPBACK, 0))  # nothing listens here, and no other process can
        place = relayed(taken.getsockname()[1])
        # On a busy machine the connection is reset before this process knows that it was made.
        with pytest.raises(ConnectionResetError), socket.create_connection(place, PATIENCE) as client:
            client.recv(1)


def test_a_connection_that_the_guest_resets_is_reset(relayed):
    with socket.create_server((relay.LOOPBACK, 0)) as server:
        with socket.create_connection(relayed(server.getsockname()[1]), PATIENCE) as client:
            guest, _address = server.accept()
            relay_traffic.reset(guest)
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_what_was_sent_before_the_end_is_delivered():
    with socket.create_server((relay.LOOPBACK, 0)) as server:
        listener = relay._listen(relay.LOOPBACK, 0)
        container, end = os.pipe()
        inward = relay_traffic.Inward({listener: server.getsockname()[1]})
        thread = threading.Thread(target=inward.serve, args=(container, None))
        thread.start()
        with socket.create_connection(listener.getsockname(), PATIENCE) as client:
            guest, _address = server.accept()
            guest.sendall(b"last words")
            guest.close()
            client.settimeout(PATIENCE)
            os.close(end)
            assert client.recv(100) == b"last words"
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_taken_port_is_replaced_by_a_free_one(monkeypatch):
    address = "127.83.19.7"  # of the loopback, where no other process takes the port
    monkeypatch.setattr(relay, "LOOPBACK", address)
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]
        with relay._listen(address, port) as listener:
            assert listener.getsockname()[1] not in (0, port)
    with relay._listen(address, port) as listener:
        assert listener.getsockname()[1] == port


def test_a_relay_is_found_by_its_process(tmp_path):
    assert relays.relayed_ports(tmp_path) is None
    own = {"pid": os.getpid(), "start": process_start(os.getpid()), "ports": {"8080": 40000}}
    (tmp_path / relays.DOCUMENT).write_text(json.dumps(own))
    assert relays.relayed_ports(tmp_path) == {"8080": 40000}
    for damage in ({**own, "start": "1"}, {**own, "ports": {"8080": "x"}}, {}, []):
        (tmp_path / relays.DOCUMENT).write_text(json.dumps(damage))
        assert relays.relayed_ports(tmp_path) is None


def test_a_relay_of_a_container_that_ended_is_one_clear_error(tmp_path):
    class Engine:
        environment = dict(os.environ)

        def inside(self, argv):
            return argv

    with pytest.raises(ProviderError, match="the relay of container .* did not start: the container has ended"):
        relays.ensure_relay(Engine(), tmp_path, f"{os.getpid()}@1", ports={"8080": 0}, reach={})
