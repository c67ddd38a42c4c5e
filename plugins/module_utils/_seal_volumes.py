# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes whose mount point is inside a tmpfs, such as logs in /var/log that outlive the host."""

from __future__ import annotations

from typing import Callable, Iterable

from ._seal_text import systemd_word, unit_instance

UNITS = "/usr/lib/systemd/system"


def order_after_tmpfs(write: Callable[[str, str], None], tmpfs: Iterable[str], data: Iterable[tuple[str, str]]) -> None:
    """Prepare each of these volumes after the tmpfs that contains its mount point.

    Otherwise, the tmpfs may hide the mount point while the volume is prepared.

    Args:
        write: writes a file of the image: its path and its text.
        data: the name and the mount point of each volume.
    """
    folders = tuple(tmpfs)
    for name, mount in data:
        around = max((folder for folder in folders if mount.startswith(folder + "/")), key=len, default=None)
        if around is not None:
            unit = f"immutable-data@{unit_instance(name)}.service"
            write(f"{UNITS}/{unit}.d/tmpfs.conf", f"[Unit]\nRequiresMountsFor={systemd_word(around)}\n")
