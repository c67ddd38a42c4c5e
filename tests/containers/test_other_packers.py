# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes of containers by each Packer that ``make packers`` built, with the version of its plugin pinned."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import PLUGIN_PATH_VARIABLE
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.tests.support.machines import Service

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
BUILT = sorted(path.parent for path in ROOT.glob(".cache/packers/*/packer"))
DOCKER = "github.com/hashicorp/docker"


@pytest.fixture(params=BUILT or [None], ids=lambda folder: folder.name if folder else "none")
def built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Packer on the search path that finds its plugins."""
    if request.param is None:
        pytest.skip("no Packer was built (make packers builds them)")
    folder: Path = request.param
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(PLUGIN_PATH_VARIABLE, str(folder / "plugins"))
    return folder


def test_a_pinned_plugin_bakes_and_a_missing_one_is_named(built: Path, tmp_path: Path, store: Path, base: None) -> None:
    packer = Packer()
    [plugin] = [each for each in InstalledPlugins(packer).plugins() if each.source == DOCKER]
    name = f"packed-{secrets.token_hex(4)}"
    service = Service(
        tmp_path / name, name, size=1, shell="restricted", data=False, store=store, provider="container", command=True
    )
    service.define(build={"plugin": "0.0.1"})
    assert f"packer plugins install {DOCKER} 0.0.1" in " ".join(service.play("bake", check=False).split())
    service.define(build={"plugin": plugin.version})
    service.play("bake")
    record = service.module("image")["image"]
    assert record["provenance"]["packer"] == packer.version()
    assert record["inputs"]["plugin"] == plugin.version
