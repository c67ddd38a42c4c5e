# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of system calls for containers of podman: podman's own, without the creation of user namespaces.

In a user namespace of its own, a process has every capability, and so reaches much more of the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._core.documents import parse_json
from .._core.files import write_atomically

# Where podman finds its own, the first that exists.
DEFAULTS = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
FILTER = "seccomp.json"
_NEW_USER = 0x10000000  # CLONE_NEWUSER
_BY_FLAGS = ("clone", "unshare")  # their first argument has it
_BY_MEMORY = "clone3"  # its flags are in memory, which no filter reads; programs use clone where it is missing
_MISSING = 38  # ENOSYS


def write_filter(folder: Path, defaults: Sequence[Path] = DEFAULTS) -> Path | None:
    """Write the filter into a folder and return its path. None if podman's own is not found. Raises OSError."""
    source = next((path for path in defaults if path.is_file()), None)
    if source is None:
        return None
    try:
        profile = parse_json(source.read_bytes())
        text = json.dumps(without_user_namespaces(profile), indent=1).encode()
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    path = folder / FILTER
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text)
    return path


def without_user_namespaces(profile: dict[str, Any]) -> dict[str, Any]:
    """Return a filter that refuses to create user namespaces, and is otherwise the same.

    Args:
        profile: as podman and Docker read it.
    """
    changed = {*_BY_FLAGS, _BY_MEMORY}
    rules = []
    for rule in profile["syscalls"]:
        names = [name for name in rule["names"] if name not in changed]
        if names:
            rules.append({**rule, "names": names})
    without = {"index": 0, "value": _NEW_USER, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules.append({"names": list(_BY_FLAGS), "action": "SCMP_ACT_ALLOW", "args": [without]})
    rules.append({"names": [_BY_MEMORY], "action": "SCMP_ACT_ERRNO", "errnoRet": _MISSING})
    return {**profile, "syscalls": rules}
