# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replaces cloud-init, which writes to the root file system at each boot: only the cloud's DHCP remains."""

from __future__ import annotations

from ._seal_changes import Changes

_DISABLED = "/etc/cloud/cloud-init.disabled"
_HOSTNAME = ("/etc/hostname", "localhost\n")  # means no name of its own: the DHCP server's name is used
# Interfaces that are no network card, as ethtool names their drivers. A container in the guest has its own network, so
# the guest's end of its veth pair and its bridge get no address by DHCP.
VIRTUAL_DRIVERS = (
    "bonding",
    "bridge",
    "dummy",
    "geneve",
    "ifb",
    "ipvlan",
    "macvlan",
    "openvswitch",
    "team",
    "tun",
    "veth",
    "vxlan",
)
# Kind=!* alone excludes every virtual interface, but systemd before 251 ignores it (man systemd.network).
_NETWORK = (
    "/etc/systemd/network/80-immutable.network",
    f"[Match]\nType=ether\nKind=!*\nDriver=!{' '.join(VIRTUAL_DRIVERS)}\n\n"
    "[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n",
)
_ENABLED = {
    "systemd-networkd.service": "multi-user.target",
    "systemd-networkd.socket": "sockets.target",
    "systemd-networkd-wait-online.service": "network-online.target",  # only if a service needs that target
}
_MASKED = ("ifup@.service", "networking.service")  # one DHCP client is enough


def replace_cloud_init(changes: Changes, *, network: bool) -> None:
    """Disable cloud-init, and let systemd-networkd configure every network card by DHCP.

    Args:
        network: whether the host configures its own network.
    """
    changes.write(_DISABLED, "")
    if not network:
        return
    for path, text in (_HOSTNAME, _NETWORK):
        changes.write(path, text)
    for unit, target in _ENABLED.items():
        changes.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in _MASKED:
        changes.link(f"/etc/systemd/system/{unit}", "/dev/null")
