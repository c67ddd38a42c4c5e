# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What common services for time and network write on the root file system, and where it goes on a sealed host."""

from __future__ import annotations

import os
from typing import Collection

from ._seal_changes import Changes
from ._seal_paths import within

# State that a host can lose. Each folder that an image has becomes a tmpfs.
STATE = (
    "/var/lib/chrony",
    "/var/lib/dhcp",
    "/var/lib/dhcpcd",
    "/var/lib/NetworkManager",
    "/var/lib/ntpsec",
    "/var/lib/openntpd",
    "/var/lib/private",  # of units with DynamicUser=
)
_RESOLV_CONF = "/etc/resolv.conf"
_BAKED_RESOLV_CONF = "/usr/lib/immutable/resolv.conf"
_RUNNING_RESOLV_CONF = "/run/immutable/resolv.conf"
_NETWORK_MANAGER = "/etc/systemd/system/multi-user.target.wants/NetworkManager.service"
_LEAVE_RESOLV_CONF = ("/etc/NetworkManager/conf.d/immutable.conf", "[main]\nrc-manager=unmanaged\n")
_RESOLV_CONF_OF_NETWORK_MANAGER = "/run/NetworkManager/resolv.conf"
_LOCALE = "/etc/default/locale"
_DHCLIENT = ("/sbin/dhclient", "/usr/sbin/dhclient")


def service_state(changes: Changes, data: Collection[str]) -> tuple[str, ...]:
    """Return the folders of the image that become a tmpfs because a service keeps its state there.

    Args:
        data: mount points of data volumes. A service may keep its state on one.
    """
    return tuple(
        path
        for path in STATE
        if _is_own_folder(changes.full_path(path)) and not any(within(path, mount) for mount in data)
    )


def _is_own_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def manages_network(changes: Changes) -> bool:
    """Whether NetworkManager starts at boot."""
    return os.path.lexists(changes.full_path(_NETWORK_MANAGER))


def let_name_servers_change(changes: Changes) -> None:
    """Let NetworkManager or dhclient write the name servers of the network below /run.

    Other programs that manage /etc/resolv.conf (systemd-resolved, resolvconf) made it a link to /run already.
    """
    full = changes.full_path(_RESOLV_CONF)
    if os.path.islink(full):
        return
    if manages_network(changes):
        # It always writes its own file, and would replace the link in /etc at each change (man NetworkManager.conf).
        changes.write(*_LEAVE_RESOLV_CONF)
        changes.link(_RESOLV_CONF, _RESOLV_CONF_OF_NETWORK_MANAGER)
        return
    if not os.path.isfile(full):
        return
    if not any(os.path.exists(changes.full_path(program)) for program in _DHCLIENT):
        return
    changes.write(_BAKED_RESOLV_CONF, "\n".join(changes.lines(_RESOLV_CONF)))
    line = f"C {_RUNNING_RESOLV_CONF} 0644 root root - {_BAKED_RESOLV_CONF}\n"
    changes.write("/usr/lib/tmpfiles.d/immutable-resolver.conf", line)
    changes.link(_RESOLV_CONF, _RUNNING_RESOLV_CONF)


def give_logins_a_locale(changes: Changes) -> None:
    """Create an empty file of the locale if there is none: PAM would report that as an error at each login."""
    full = changes.full_path(_LOCALE)
    if os.path.isdir(os.path.dirname(full)) and not os.path.lexists(full):
        changes.write(_LOCALE, "")
