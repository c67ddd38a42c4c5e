# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An SBOM of a running machine: of this one, since what is gathered is said in shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.gathered import Gathered, gathering
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.sbom import make_sbom

pytestmark = pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="needs a Debian")


def test_what_a_machine_gathers_is_enough_for_its_sbom(tmp_path: Path) -> None:
    archive = tmp_path / "gathered.tar.gz"
    # Of one folder, as the whole of it would take long.
    line = gathering(str(archive)).replace("find / -xdev", "find /var/lib/dpkg /usr/lib/os-release /usr/share/doc/dpkg")
    subprocess.run(["sh", "-e", "-c", line], check=True)
    sbom = json.loads(make_sbom(Gathered(archive), "sha256:ab", "shop", "1"))
    found = {each["name"]: each for each in sbom["components"]}
    assert found["dpkg"]["purl"].startswith("pkg:deb/debian/dpkg@")
    assert sbom["metadata"]["component"]["name"] == "shop"


def test_what_is_no_tarball_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ImageError, match="gathered for the SBOM cannot be read"):
        Gathered(tmp_path / "x")
