# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of system calls for containers."""

from __future__ import annotations

import json

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_filter import write_filter

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [
        {"names": ["clone", "read", "clone3"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["unshare"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ],
}


def test_user_namespaces_cannot_be_created(tmp_path):
    (tmp_path / "default.json").write_text(json.dumps(PROFILE))
    path = write_filter(tmp_path, [tmp_path / "missing.json", tmp_path / "default.json"])
    profile = json.loads(path.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert [rule["names"] for rule in profile["syscalls"]] == [["read"], ["clone", "unshare"], ["clone3"]]
    assert profile["syscalls"][1]["args"][0]["value"] == 0x10000000
    assert profile["syscalls"][2]["errnoRet"] == 38


@pytest.mark.parametrize("text", ["", "[]", '{"syscalls": 1}', '{"syscalls": [{}]}'])
def test_without_a_readable_default_there_is_none(tmp_path, text):
    (tmp_path / "default.json").write_text(text)
    assert write_filter(tmp_path, [tmp_path / "default.json"]) is None
    assert write_filter(tmp_path, []) is None
