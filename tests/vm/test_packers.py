# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real bake with the Packer on the search path. ``make test`` runs it for each Packer that was built."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import version_tuple
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.tests.support.machines import PIPED, STORE

pytestmark = pytest.mark.packers
QEMU = "github.com/hashicorp/qemu"
PROVISION = """
- name: Bake almost nothing
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a word
      ansible.builtin.copy:
        content: "{{ word }}"
        dest: /etc/word
        mode: "0644"
"""


def bake(folder: Path, word: str, **build: str) -> subprocess.CompletedProcess[str]:
    document = {
        "schema": 1,
        "service": "packers",
        "version": "1",
        "image": {"base": {"debian": "bookworm"}, "provision": {"playbook": "provision.yml", "vars": {"word": word}}},
        "health": {"tcp": {"port": 22, "expect": "SSH-2.0"}},
        "targets": {"local": {"provider": "qemu", "build": {"memory": "512M", **build}}},
    }
    (folder / "provision.yml").write_text(PROVISION, encoding="utf-8")
    (folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")
    values = [f"immutable_definition={folder / 'immutable.yml'}", f"immutable_store={STORE}"]
    return subprocess.run(
        ["ansible-playbook", "immutable.infra.bake", *(word for value in values for word in ("-e", value))],
        **PIPED,
        check=False,
    )


def records() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in STORE.glob("images/*/*/record.json")]
    return [record for record in found if record["service"] == "packers"]


def test_the_qemu_bake(tmp_path: Path) -> None:
    """The version of the plugin is pinned if Packer has plugins, so no other version can have built the image."""
    packer = Packer()
    plugins = [plugin for plugin in InstalledPlugins(packer).plugins() if plugin.source == QEMU]
    pin = {"plugin": plugins[-1].version} if plugins else {}
    shutil.rmtree(STORE / "images", ignore_errors=True)
    done = bake(tmp_path, "first", **pin)
    assert done.returncode == 0, done.stdout
    [record] = records()
    assert record["provenance"]["packer"] == packer.version()
    assert record["inputs"].get("plugin") == pin.get("plugin")
    assert Path(record["artifact"]["path"]).stat().st_size > 100 * 1024**2
    assert "] task: Write a word" in done.stdout
    assert "] changed: [localhost]" not in done.stdout, "only stages and tasks are reported, not their output"
    again = bake(tmp_path, "first", **pin)
    assert "changed=0" in again.stdout


def test_a_missing_plugin_is_reported_with_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packer = Packer()
    monkeypatch.setenv("PACKER_PLUGIN_PATH", str(tmp_path / "none"))
    pinned = bake(tmp_path, "second", plugin="1.2.3")
    assert pinned.returncode
    assert "build.plugin" in pinned.stdout
    if version_tuple(packer.version()) >= (1, 10):
        unpinned = bake(tmp_path, "second")
        assert unpinned.returncode
        assert f"packer plugins install {QEMU}" in " ".join(unpinned.stdout.split())
