# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks for tests that boot nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

# The header of a qcow2 disk that names no other file.
HEADER = b"QFI\xfb" + bytes([0, 0, 0, 3]) + bytes(104)
# Options of qemu-img that make a disk name another file.
BACKING_FILE = ("-b", "/etc/passwd", "-F", "raw")
DATA_FILE = ("-o", "data_file=DATA")


def create_disk(disk: Path, options: Iterable[str] = (), kind: str = "qcow2") -> None:
    """Create a disk of 1 MiB.

    Args:
        options: of qemu-img. ``DATA`` in them stands for a file in the folder of the disk.
        kind: qemu-img's name of the format.
    """
    words = [option.replace("DATA", str(disk.parent / "data")) for option in options]
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *words, str(disk), "1M"], check=True)
