# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer finds only the pinned version of a plugin. Uses the Packer on the search path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import version_tuple
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.plugin import only_plugin
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError

NAME, SOURCE = "qemu", "github.com/hashicorp/qemu"
pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")


def test_without_a_pinned_version_nothing_changes(tmp_path: Path) -> None:
    assert only_plugin(Packer(), NAME, version=None, folder=tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_packer_finds_only_the_pinned_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("PACKER_MIRROR"):
        pytest.skip("PACKER_MIRROR names no folder of plugins")
    monkeypatch.setenv("PACKER_PLUGIN_PATH", os.environ["PACKER_MIRROR"])
    packer = Packer()
    versions = [plugin.version for plugin in InstalledPlugins(packer).plugins() if plugin.source == SOURCE]
    environment = only_plugin(packer, NAME, version=versions[0], folder=tmp_path)
    found = InstalledPlugins(packer, environment["PACKER_PLUGIN_PATH"]).plugins()
    assert [(plugin.source, plugin.version) for plugin in found] == [(SOURCE, versions[0])]


def test_a_version_that_is_not_installed_is_reported(tmp_path: Path) -> None:
    packer = Packer()
    older = version_tuple(packer.version()) < (1, 8)
    with pytest.raises(
        BakeError, match="can only use its bundled plugins" if older else f"packer plugins install {SOURCE} 99.0.0"
    ):
        only_plugin(packer, NAME, version="99.0.0", folder=tmp_path)
