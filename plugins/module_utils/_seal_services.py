# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What common services for time and network write on the root file system, and where it goes on a sealed host."""

from __future__ import annotations

import os
from typing import Collection

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


def service_state(root: str, data: Collection[str]) -> tuple[str, ...]:
    """Return the folders of the image below ``root`` that become a tmpfs because a service keeps its state there.

    Args:
        data: mount points of data volumes. A service may keep its state on one.
    """
    return tuple(
        path
        for path in STATE
        if _is_own_folder(os.path.join(root, path.lstrip("/"))) and not any(within(path, mount) for mount in data)
    )


def _is_own_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
