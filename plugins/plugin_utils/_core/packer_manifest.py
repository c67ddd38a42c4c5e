# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recognizes the file of Packer's post-processor ``manifest``. Each build adds itself to it, so it is no input."""

from __future__ import annotations

import stat
from pathlib import Path

from .documents import parse_json

_START = b'{"builds":['  # without white space
_MAX_BYTES = 16 * 1024**2


def is_packer_manifest(path: Path) -> bool:
    """Return whether a file is such a manifest. A link is none. Raises OSError."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        if not b"".join(file.read(64).split()).startswith(_START):
            return False
        file.seek(0)
        data = file.read(_MAX_BYTES + 1)
    try:
        document = parse_json(data) if len(data) <= _MAX_BYTES else None
    except ValueError:
        return False
    if not isinstance(document, dict) or set(document) != {"builds", "last_run_uuid"}:
        return False
    builds = document["builds"]
    return isinstance(builds, list) and all(isinstance(each, dict) and "packer_run_uuid" in each for each in builds)
