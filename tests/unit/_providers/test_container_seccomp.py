# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of system calls is podman's own, without namespaces and mounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_seccomp import (
    DEFAULT_FILTERS,
    without_namespaces,
)

# The rules that matter, as golang-github-containers-common 0.50 has them.
OWN: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
    "syscalls": [
        {
            "names": ["accept", "clone", "clone3", "fsopen", "mount", "openat", "setns", "umount2", "unshare"],
            "action": "SCMP_ACT_ALLOW",
            "args": [],
            "includes": {},
            "excludes": {},
        },
        {"names": ["setns"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {"caps": ["CAP_SYS_CHROOT"]}},
    ],
}
NEW_USER_NAMESPACE = 0x10000000


def rules_of(found: dict[str, Any], call: str) -> list[dict[str, Any]]:
    return [rule for rule in found["syscalls"] if call in rule["names"]]


@pytest.mark.parametrize("call", ["unshare", "mount", "setns", "fsopen", "umount2", "move_mount"])
def test_a_call_for_namespaces_and_mounts_is_refused(call: str) -> None:
    (rule,) = rules_of(without_namespaces(json.dumps(OWN)), call)
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 1)


def test_processes_and_threads_can_still_start() -> None:
    found = without_namespaces(json.dumps(OWN))
    clone, *refused = rules_of(found, "clone")
    (argument,) = clone["args"]
    assert (clone["action"], argument["op"], argument["valueTwo"]) == ("SCMP_ACT_ALLOW", "SCMP_CMP_MASKED_EQ", 0)
    assert argument["value"] & NEW_USER_NAMESPACE
    threads = 0x3D0F00  # as the C library starts them
    assert not argument["value"] & threads
    # systemd in Debian 13 goes on without a namespace after EPERM, and ends after any other error.
    assert {(rule["action"], rule["errnoRet"]) for rule in refused} == {("SCMP_ACT_ERRNO", 1)}
    assert sum(rule["args"][0]["valueTwo"] for rule in refused) == argument["value"]
    (clone3,) = rules_of(found, "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_everything_else_stays() -> None:
    found = without_namespaces(json.dumps(OWN))
    assert {key: value for key, value in found.items() if key != "syscalls"} == {
        key: value for key, value in OWN.items() if key != "syscalls"
    }
    assert found["syscalls"][0] == {**OWN["syscalls"][0], "names": ["accept", "openat"]}
    assert OWN["syscalls"][2] in found["syscalls"]


@pytest.mark.parametrize("path", DEFAULT_FILTERS)
def test_the_filters_of_this_machine_can_be_read(path: str) -> None:
    if not Path(path).is_file():
        pytest.skip(f"there is no {path}")
    found = without_namespaces(Path(path).read_bytes())
    assert [rule["action"] for rule in rules_of(found, "unshare")] == ["SCMP_ACT_ERRNO"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"syscalls": 1}', '{"syscalls": [1]}', '{"syscalls": [{}]}'])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ProviderError, match="podman's seccomp profile cannot be read"):
        without_namespaces(text)
