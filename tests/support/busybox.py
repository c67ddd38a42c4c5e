# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small image for tests with a real engine: busybox and nothing else."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine

PROGRAMS = ("cat", "dd", "echo", "id", "kill", "ls", "mkdir", "sh", "sleep", "stat")
FOLDERS = ("dev", "etc", "proc", "run", "srv", "srv/uploads", "sys", "tmp")


def import_busybox(engine: ContainerEngine) -> str:
    """Return an image with a shell. Without busybox the test is skipped, and it fails in CI."""
    program = shutil.which("busybox")
    if program is None:
        reason = "needs a static busybox (Debian: apt install busybox-static)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("bin", *FOLDERS):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        tar.add(program, "bin/busybox", filter=_root)
        for name in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return engine.run("import", "--quiet", "-", input=data.getvalue()).strip()


def _root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode, entry.mtime = 0o755, 0
    return entry
