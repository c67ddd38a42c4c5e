# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The seccomp profile, which filters system calls, for containers that podman runs. Pure.

Podman's own filter lets every user of a container create namespaces, and mount file systems in them. There, a program
can be executed that ``noexec`` refuses elsewhere, and most of the kernel's attack surface is open. Docker's own filter
refuses that already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._core.documents import parse_json
from .._core.errors import ProviderError

# Where distributions put podman's own filter. The first is the administrator's.
DEFAULT_FILTERS: Final = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_ALLOW, _REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_EPERM, _ENOSYS = 1, 38
_REFUSED: Final = frozenset(
    {
        *("fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree"),
        *("pivot_root", "setns", "umount", "umount2", "unshare"),
    }
)
# clone is also how threads and processes start, so only its flags for namespaces are refused: CLONE_NEWNS, NEWCGROUP,
# NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_NAMESPACES: Final = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


def without_namespaces(text: bytes | str) -> dict[str, Any]:
    """Return a filter that refuses new namespaces and mounts, and otherwise allows what the given one allows.

    Args:
        text: podman's own filter, in JSON.

    Raises ProviderError if it is not one.
    """
    try:
        found = parse_json(text)
        rules = [_without_refused(rule) for rule in found["syscalls"]]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ProviderError(f"podman's seccomp profile cannot be read: {error!r}", permanent=True) from error
    return {
        **found,
        "syscalls": [
            *(rule for rule in rules if rule["names"]),
            {"names": sorted(_REFUSED), "action": _REFUSE, "errnoRet": _EPERM},
            {"names": ["clone"], "action": _ALLOW, "args": [_flags(sum(_NAMESPACES), 0)]},
            # Not the default, which is an error that systemd takes for another one.
            *(
                {"names": ["clone"], "action": _REFUSE, "errnoRet": _EPERM, "args": [_flags(flag, flag)]}
                for flag in _NAMESPACES
            ),
            # No filter can see its flags. The C library then uses clone.
            {"names": ["clone3"], "action": _REFUSE, "errnoRet": _ENOSYS},
        ],
    }


def _flags(mask: int, value: int) -> dict[str, Any]:
    return {"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _without_refused(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Other rules for these calls go as well: what they depend on is a capability that no container has."""
    return {**rule, "names": [name for name in rule["names"] if name not in (*_REFUSED, "clone", "clone3")]}
