# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SELinux labels of what the seal writes. The kernel stores labels without a policy as well, but only for root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.module_utils._seal_changes import Changes
from ansible_collections.immutable.infra.plugins.module_utils._seal_selinux import label_with
from ansible_collections.immutable.infra.tests.support.file_trees import put

SPEC = Spec("shop", "1", "sha256:abc", writable=("/var/cache/shop",))


def label(path: Path, text: str) -> None:
    path.mkdir(parents=True)
    try:
        os.setxattr(path, "security.selinux", text.encode() + b"\0")
    except OSError as error:
        pytest.skip(f"labels cannot be set here: {error}")


def options(root: Path, mount: str) -> list[str]:
    rows = [line.split() for line in (root / "etc/fstab").read_text(encoding="utf-8").splitlines()]
    return next(row[3].split(",") for row in rows if row[1] == mount)


def test_a_tmpfs_has_the_label_of_its_mount_point(tmp_path: Path) -> None:
    put(tmp_path, "/etc/fstab", "")
    label(tmp_path / "var/log", "system_u:object_r:var_log_t:s0")
    label(tmp_path / "var/cache/shop", "system_u:object_r:shop_cache_t:s0:c1,c2")
    seal(str(tmp_path), [], SPEC)
    assert "rootcontext=system_u:object_r:var_log_t:s0" in options(tmp_path, "/var/log")
    assert [
        each for mount in ("/tmp", "/var/cache/shop") for each in options(tmp_path, mount) if "context" in each
    ] == []


def test_what_was_written_is_labeled_and_programs_are_programs(tmp_path: Path) -> None:
    put(tmp_path, "/etc/shadow", "")
    put(tmp_path, "/usr/lib/immutable/seal", "#!/bin/sh\n", 0o755)
    put(tmp_path, "/usr/lib/immutable/seal.env", "")
    calls: list[list[str]] = []
    paths = ["/usr/lib/immutable/seal", "/etc/shadow", "/gone", "/usr/lib/immutable/seal.env", "/etc/shadow"]
    label_with(calls.append, Changes(str(tmp_path)), paths)
    assert calls == [
        ["restorecon", "-F", "--", "/etc/shadow", "/usr/lib/immutable/seal", "/usr/lib/immutable/seal.env"],
        ["chcon", "-t", "bin_t", "--", "/usr/lib/immutable/seal"],
    ]
