# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What guests reach: a build machine and an instance try the listeners of this machine, as nobody and as root."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import PROVISION, Service, ask, released

pytestmark = pytest.mark.long
MARK = "REACHED "
TRY = """#!/usr/bin/python3
import json
import socket
import subprocess
import sys


def answers(host, port):
    try:
        # What is not declared may be silent, and each such try takes all of its time.
        with socket.create_connection((host, port), timeout=120 if host == "10.0.2.100" else 4) as connection:
            return connection.recv(20).decode() or "closed"
    except OSError as error:
        return type(error).__name__


def resolves(name):
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False


# 127.0.0.2 leaves through the gateway once it is no address of this guest any more.
route = [
    ["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"],
    ["ip", "route", "del", "local", "127.0.0.0/8"],
    ["ip", "route", "del", "table", "local", "127.0.0.0/8"],
    ["sysctl", "-w", "net.ipv4.conf.all.route_localnet=1"],
    ["ip", "route", "add", "127.0.0.2/32", "via", "10.0.2.2"],
]
if "route" in sys.argv:
    for command in route:
        subprocess.run(command, capture_output=True)
found = {host + " " + port: answers(host, int(port)) for host, port in (pair.split("/") for pair in %s)}
print(%r + json.dumps({"reached": found, "dns": resolves("deb.debian.org")}))
"""
UNIT = """
[Unit]
After=network.target
Before=echo.service
[Service]
Type=oneshot
User=nobody
StandardOutput=journal+console
ExecStart=/usr/bin/python3 /usr/local/bin/try-network
[Install]
WantedBy=multi-user.target
"""
STEPS = """
    - name: Install what tries the network
      ansible.builtin.copy:
        src: try-network
        dest: /usr/local/bin/try-network
        mode: "0755"
    - name: Install its unit
      ansible.builtin.copy:
        src: try-network.service
        dest: /etc/systemd/system/try-network.service
        mode: "0644"
    - name: Start it at each boot
      ansible.builtin.file:
        src: /etc/systemd/system/try-network.service
        path: /etc/systemd/system/multi-user.target.wants/try-network.service
        state: link
    - name: Update the package lists
      ansible.builtin.command:
        argv: [apt-get, update]
    - name: Try it on the build machine
      ansible.builtin.command:
        argv: [setpriv, --reuid=65534, --regid=65534, --clear-groups, python3, /usr/local/bin/try-network]
    - name: Try it on the build machine as root
      ansible.builtin.command:
        argv: [python3, /usr/local/bin/try-network, route]
      register: tried
    - name: Show it
      ansible.builtin.debug:
        var: tried.stdout
"""


def _listen(stack: ExitStack, family: socket.AddressFamily, address: str) -> int:
    server = stack.enter_context(socket.create_server((address, 0), family=family))

    def serve() -> None:
        while True:
            try:
                connection, _peer = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"secret")

    threading.Thread(target=serve, daemon=True).start()
    port: int = server.getsockname()[1]
    return port


def _own_address() -> str:
    """An address of this machine other than its loopback. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        address: str = probe.getsockname()[0]
        return address


@pytest.fixture
def tried(tmp_path: Path) -> Iterator[Service]:
    """A service that was released with a fleet of one, while this machine listened."""
    with ExitStack() as stack:
        loopback = _listen(stack, socket.AF_INET, "127.0.0.1")
        everywhere = _listen(stack, socket.AF_INET, "0.0.0.0")
        pairs = [f"{host}/{port}" for port in (loopback, everywhere) for host in ("10.0.2.2", "10.0.2.3", "127.0.0.2")]
        pairs += [f"{_own_address()}/{everywhere}", f"10.0.2.100/{everywhere}"]
        if socket.has_ipv6:
            pairs.append(f"fec0::2/{_listen(stack, socket.AF_INET6, '::1')}")
        service = Service(tmp_path / "reach", "reach", size=1, shell="restricted", data=False)
        folder = service.folder
        (folder / "provision.yml").write_text(PROVISION + STEPS.lstrip("\n"), encoding="utf-8")
        (folder / "try-network").write_text(TRY % (json.dumps(pairs), MARK), encoding="utf-8")
        (folder / "try-network.service").write_text(UNIT, encoding="utf-8")
        document = json.loads((folder / "immutable.yml").read_text(encoding="utf-8"))
        document["targets"]["local"]["reach"] = {"10.0.2.100:" + str(everywhere): f"{_own_address()}:{everywhere}"}
        (folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")
        yield stack.enter_context(released(service))


def _reached(text: str) -> list[dict[str, object]]:
    plain = text.replace('\\"', '"')
    return [json.loads(found) for found in re.findall(re.escape(MARK) + r"(\{.*?\}, \"dns\": \w+\})", plain)]


def test_guests_reach_nothing_of_this_machine_but_what_is_declared(tried: Service) -> None:
    [log] = (tried.store / "images").glob("*/*/packer.log")
    [built] = _reached(log.read_text(encoding="utf-8"))[:1]
    [instance] = tried.instances()
    [console] = (tried.store / "qemu/machines").glob(f"*/{instance['id']}/console.log")
    [running] = _reached(console.read_text(encoding="utf-8", errors="replace"))[:1]
    assert ask(instance, "/healthz")[0] == 200, "the controller reaches the guest"
    for who, seen in (("build machine", built), ("instance", running)):
        reached = seen["reached"]
        assert isinstance(reached, dict)
        answered = {place for place, answer in reached.items() if answer == "secret"}
        assert {place.split()[0] for place in answered} == {"10.0.2.100"}, (who, reached)
    assert built["dns"] is True and running["dns"] is False
