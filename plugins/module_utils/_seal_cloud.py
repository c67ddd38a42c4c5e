# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replaces cloud-init, which writes to the root file system at each boot: only the cloud's DHCP remains."""

from __future__ import annotations

import glob
import os

from ._seal_changes import Changes
from ._seal_services import manages_network

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


# Profiles of ifcfg-rh have no names of their own.
_IFCFG = "/etc/sysconfig/network-scripts/ifcfg-*"
_BY_CLOUD_INIT = "Created by cloud-init"
# Every network card gets an address (man nm-settings-nmcli), whatever its name and its hardware address.
_PROFILE = (
    "/etc/NetworkManager/system-connections/immutable.nmconnection",
    "[connection]\nid=immutable\nuuid=5ea1ed00-0000-4000-8000-000000000001\ntype=ethernet\nmulti-connect=3\n\n"
    "[match]\ndriver=!veth;\n\n[ipv4]\nmethod=auto\ndhcp-client-id=mac\n\n[ipv6]\nmethod=auto\n",
)
# The launch document comes over the network, and no service may start before it was read. What NetworkManager needs
# therefore starts before basic.target, which every other service waits for.
_EARLY = (
    "[Unit]\nDefaultDependencies=no\nAfter=sysinit.target dbus.socket\nBefore=shutdown.target\n"
    "Conflicts=shutdown.target\n"
)
_EARLY_UNITS = ("NetworkManager.service", "NetworkManager-dispatcher.service", "dbus.service")
_LAUNCH = (
    "/etc/systemd/system/immutable-launch.service",
    "[Unit]\nDescription=Read the launch document\nDefaultDependencies=no\n"
    "After=sysinit.target NetworkManager.service\nBefore=basic.target shutdown.target\nConflicts=shutdown.target\n\n"
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/immutable/launch\n",
)


def replace_cloud_init(changes: Changes, *, network: bool) -> None:
    """Disable cloud-init, and let the image's own program configure every network card by DHCP.

    That is NetworkManager if the image enables it, else systemd-networkd.

    Args:
        network: whether the host configures its own network.
    """
    changes.write(_DISABLED, "")
    if not network:
        return
    changes.write(*_HOSTNAME)
    if manages_network(changes):
        _use_network_manager(changes)
    else:
        changes.write(*_NETWORK)
        for unit, target in _ENABLED.items():
            changes.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in _MASKED:
        changes.link(f"/etc/systemd/system/{unit}", "/dev/null")


def _use_network_manager(changes: Changes) -> None:
    for full in sorted(glob.glob(glob.escape(changes.root.rstrip("/")) + _IFCFG)):
        with open(full, encoding="utf-8", errors="replace") as file:
            if _BY_CLOUD_INIT in file.read(65536):
                changes.remove(os.path.relpath(full, changes.root))
    changes.write(*_PROFILE, 0o600)  # NetworkManager ignores a profile that others can read
    changes.write(*_LAUNCH)
    for unit in _EARLY_UNITS:
        changes.write(f"/etc/systemd/system/{unit}.d/immutable.conf", _EARLY)
