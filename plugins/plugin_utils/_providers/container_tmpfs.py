# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program that gives the file systems in memory of a new container to their users: podman has no option for that.

The runtime starts it in the container's mount namespace, before the container's first process and while the files of
this machine are still there. The standard input describes the container (OCI runtime specification, state).
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

ANNOTATION = "immutable.tmpfs"


def encoded(rows: Sequence[tuple[str, int, int, str]]) -> str:
    """Return the annotation of a container for its file systems in memory: path, uid, gid and octal mode of each."""
    return base64.b64encode(json.dumps([list(row) for row in rows]).encode()).decode("ascii")


def main(state: dict[str, Any]) -> None:
    """Set owners and modes below the container's root. Raises OSError, ValueError and LookupError."""
    rows = json.loads(base64.b64decode(state["annotations"][ANNOTATION]))
    with open(os.path.join(state["bundle"], "config.json"), encoding="utf-8") as file:
        root = os.path.join(state["bundle"], json.load(file)["root"]["path"])
    for path, user, group, mode in rows:
        folder = _open_below(root, path)
        try:
            os.fchmod(folder, int(mode, 8))
            os.fchown(folder, user, group)
        finally:
            os.close(folder)


def _open_below(root: str, path: str) -> int:
    """Open a folder of the container. Neither a link in the image nor a path can lead out of it."""
    if ".." in path.split("/"):
        raise ValueError(f"{path} may lead outside of the container")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    found = os.open(root, flags)
    for name in filter(None, path.split("/")):
        inner = os.open(name, flags, dir_fd=found)
        os.close(found)
        found = inner
    return found


if __name__ == "__main__":
    main(json.load(sys.stdin))
