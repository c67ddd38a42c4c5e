# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a build leaves in a file system that must not stay in an image.

The seal removes it, the inspection of an image looks for it.

Patterns are absolute paths. ``*`` matches within one folder, as in a shell. ``~`` is the home of root or of any other
user.
"""

from __future__ import annotations

SSH_HOST_KEYS = ("/etc/ssh/ssh_host_*",)
SSH_AUTHORIZED_KEYS = ("~/.ssh/authorized_keys*",)
HISTORY = ("~/.*history", "~/.lesshst", "~/.viminfo")
APT_INDEXES = ("/var/cache/apt/*.bin",)
APT_LISTS = ("/var/lib/apt/lists/*",)
ANSIBLE_FOLDERS = ("~/.ansible",)
HOMES = ("/root", "/home/*")  # as shell patterns
LOGS = "/var/log/*"
JOURNALS = "/var/log/journal/" + 32 * "[0-9a-f]"  # each is named by the machine id of the build machine
MACHINE_ID = "/etc/machine-id"
DBUS_MACHINE_ID = "/var/lib/dbus/machine-id"

REMOVED_FILES = (
    *SSH_HOST_KEYS,
    *SSH_AUTHORIZED_KEYS,
    *HISTORY,
    "/root/.wget-hsts",
    "/var/lib/systemd/random-seed",
    "/var/lib/dhcp/*.leases",
    *APT_INDEXES,
    "/etc/*-",
    # What cloud-init wrote for the build machine and its network card.
    "/etc/netplan/50-cloud-init.yaml",
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/systemd/network/*cloud-init*",
    "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "/etc/NetworkManager/conf.d/*cloud-init*.conf",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/ssh/sshd_config.d/50-cloud-init.conf",
)
REMOVED_TREES = (
    *ANSIBLE_FOLDERS,
    "/root/.cache",
    *APT_LISTS,
    "/var/cache/apt/archives/*",
    "/var/cache/debconf/*-old",
    JOURNALS,
    LOGS,
    "/tmp/*",
    "/tmp/.[!.]*",
    "/var/tmp/*",
    "/var/lib/cloud/*",
)


def shell_patterns(pattern: str) -> list[str]:
    """Return the pattern with each home instead of ``~``."""
    return [home + pattern[1:] for home in HOMES] if pattern.startswith("~") else [pattern]
