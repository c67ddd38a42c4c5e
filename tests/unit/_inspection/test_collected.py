# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes an SBOM of this machine with the shell command that collects the files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.collected import (
    CollectedFiles,
    collect_command,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.listed import ListedFiles
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.sbom import make_sbom

SCRIPT = Path(__file__).parents[3] / "plugins/module_utils/_listing.py"
pytestmark = pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="needs a Debian")


def test_the_collected_files_are_enough_for_an_sbom(tmp_path: Path) -> None:
    archive, folder = tmp_path / "collected.tar.gz", tmp_path / "list"
    folder.mkdir()
    # Search and list only a few folders, because the complete search takes long.
    line = collect_command(str(archive), str(folder), str(SCRIPT))
    line = line.replace("find / -xdev", "find /var/lib/dpkg /usr/lib/os-release /usr/share/doc/dpkg")
    line = line.replace("mount --bind /", "mount --bind /usr/share/doc/dpkg")
    if os.geteuid():
        line = line.replace("unshare --mount", "unshare --map-root-user --mount")
    subprocess.run(["sh", "-e", "-c", line], check=True)
    assert "/copyright" in ListedFiles(CollectedFiles(archive)).entries
    sbom = json.loads(make_sbom(CollectedFiles(archive), "sha256:ab", "shop", "1"))
    found = {component["name"]: component for component in sbom["components"]}
    assert found["dpkg"]["purl"].startswith("pkg:deb/debian/dpkg@")
    assert sbom["metadata"]["component"]["name"] == "shop"


def test_a_file_that_is_not_a_tarball_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ImageError, match="cannot read the files that the build machine sent for the SBOM"):
        CollectedFiles(tmp_path / "x")
