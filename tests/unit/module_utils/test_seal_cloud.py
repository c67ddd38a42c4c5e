# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of a host whose base had cloud-init, with the real systemd-networkd in a network namespace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.tests.support.file_trees import put

NETWORKD = Path("/usr/lib/systemd/systemd-networkd")
FILE = "etc/systemd/network/80-immutable.network"
SPEC = Spec("shop", "1.4.2", "sha256:abc")
# Without udev, as in a container, networkd does not wait until a link is initialized. That takes a read-only /sys.
NAMESPACE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /etc/systemd/network
cp "$1" /etc/systemd/network/
chmod 644 /etc/systemd/network/*
mkdir /run/systemd
ip link add veth-of-guest type veth peer name veth-of-box
ip link add docker0 type bridge
ip tuntap add dev tap0 mode tap
for each in veth-of-guest veth-of-box docker0 tap0; do ip link set $each up; done
exec /usr/lib/systemd/systemd-networkd
"""
INTERFACES = {"veth-of-guest", "veth-of-box", "docker0", "tap0"}


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    put(tmp_path, "/etc/cloud/cloud.cfg", "users: [default]\n")
    seal(str(tmp_path), [], SPEC)
    return tmp_path


def _configured(file: Path) -> set[str]:
    """The interfaces that a real networkd configures by this file, when it has looked at every one."""
    done = ["unshare", "--net", "--mount", "sh", "-c", NAMESPACE, "sh", str(file)]
    found: set[str] = set()
    with subprocess.Popen(done, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        output = []
        try:
            for line in process.stderr:
                output.append(line)
                if match := re.match(r"(\S+): Configuring with /etc/systemd/network/", line):
                    found.add(match[1])
                if "Enumeration completed" in line:
                    return found
        finally:
            process.kill()
    raise AssertionError("networkd ended: " + "".join(output))


@pytest.mark.skipif(
    os.geteuid() != 0 or not NETWORKD.exists() or not shutil.which("ip"), reason="needs root, systemd-networkd and ip"
)
@pytest.mark.parametrize(
    "without, configured",
    [((), set()), (("Kind=",), set()), (("Driver=",), set()), (("Kind=", "Driver="), INTERFACES)],
    ids=["as it is", "systemd before 251", "without drivers", "with neither"],
)
def test_only_network_cards_get_an_address_by_dhcp(cloud: Path, without: tuple[str, ...], configured: set[str]) -> None:
    lines = (cloud / FILE).read_text().splitlines(keepends=True)
    (cloud / FILE).write_text("".join(line for line in lines if not line.startswith(without or ("#",))))
    assert _configured(cloud / FILE) == configured
