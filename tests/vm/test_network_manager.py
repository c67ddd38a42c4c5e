# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An instance like one of EC2 whose network NetworkManager manages, as in images of the RHEL family."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import choose
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import user_data
from ansible_collections.immutable.infra.tests.support.ec2_guest import NONCE, Ec2Guest, build
from ansible_collections.immutable.infra.tests.support.machines import STORE
from ansible_collections.immutable.infra.tests.support.metadata import PROFILE, metadata
from ansible_collections.immutable.infra.tests.support.sealed_guest import DIGEST, script_of

pytestmark = pytest.mark.long

OLD_PROFILE = """[connection]
id=cloud-init eth0
type=ethernet
interface-name=eth0
[ethernet]
mac-address=06:00:00:00:00:01
[ipv4]
method=auto
"""
CLAIMS = script_of("""
claim 'test "$(nmcli -g GENERAL.CONNECTION device show $(ls /sys/class/net | grep -v lo))" = immutable'
claim 'grep -q "nameserver 169.254.0.3" /etc/resolv.conf'
claim '! systemctl is-active -q systemd-networkd.service'
claim '! systemctl is-active -q cloud-init.service cloud-init-local.service'
claim 'findmnt -no OPTIONS / | grep -qw ro'
claim 'findmnt -no FSTYPE /var/lib/NetworkManager | grep -qx tmpfs'
claim '! journalctl -b -u NetworkManager -u dbus | grep -i "read-only file system"'
claim '! journalctl -b -p err -u NetworkManager -u dbus -u NetworkManager-dispatcher | grep -v "^-- "'
claim '! journalctl -b | grep -i "ordering cycle"'
ip link add veth-of-guest type veth peer name veth-of-box
ip link add docker0 type bridge
for each in veth-of-guest veth-of-box docker0; do ip link set $each up; done
claim 'test -z "$(ip -o -4 addr show docker0; ip -o -4 addr show veth-of-guest)"'
claim 'nmcli -t -f DEVICE,STATE device | grep -qx veth-of-guest:unmanaged'
""")


def test_an_instance_with_network_manager_seals_itself(tmp_path: Path) -> None:
    files = tmp_path / "files"
    profiles = files / "etc/NetworkManager/system-connections"
    profiles.mkdir(parents=True)
    (profiles / "cloud-init-eth0.nmconnection").write_text(OLD_PROFILE, encoding="utf-8")
    disk = build(
        tmp_path,
        Spec("shop", "1", DIGEST),
        files,
        script="chmod 600 /etc/NetworkManager/system-connections/*; systemctl -q disable systemd-networkd.service",
        cloud=["cloud-init", "network-manager"],
    )
    with (
        metadata(PROFILE) as server,
        Ec2Guest(tmp_path, disk, choose(STORE / "qemu", disk), server.server_port) as guest,
    ):
        request = guest.request()
        server.bodies["user-data"] = user_data(request, {}, "eu-central-1", "")
        evidence = parse_evidence(guest.wait_for("IMMUTABLE-SEALED"), NONCE)
        assert evidence is not None and evidence.digest == DIGEST
        checked = guest.ssh(CLAIMS, evidence.host_key)
        assert checked.returncode == 0, checked.stdout + checked.stderr
