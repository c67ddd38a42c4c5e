# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pinned version of a plugin is the only one that Packer finds; with whichever Packer is on the search path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import version_tuple
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import Installed
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.plugin import only_plugin
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError

NAME, SOURCE = "qemu", "github.com/hashicorp/qemu"
pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")


def test_without_a_pin_nothing_changes(tmp_path: Path) -> None:
    assert only_plugin(Packer(), NAME, version=None, folder=tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_pinned_version_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("PACKER_MIRROR"):
        pytest.skip("PACKER_MIRROR names no folder of plugins")
    monkeypatch.setenv("PACKER_PLUGIN_PATH", os.environ["PACKER_MIRROR"])
    packer = Packer()
    there = [plugin.version for plugin in Installed(packer).found() if plugin.source == SOURCE]
    environment = only_plugin(packer, NAME, version=there[0], folder=tmp_path)
    found = Installed(packer, environment["PACKER_PLUGIN_PATH"]).found()
    assert [(plugin.source, plugin.version) for plugin in found] == [(SOURCE, there[0])]


def test_a_version_that_is_not_there_is_told(tmp_path: Path) -> None:
    packer = Packer()
    older = version_tuple(packer.version()) < (1, 8)
    with pytest.raises(
        BakeError, match="can only use what it holds itself" if older else f"packer plugins install {SOURCE} 99.0.0"
    ):
        only_plugin(packer, NAME, version="99.0.0", folder=tmp_path)
