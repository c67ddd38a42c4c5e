# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tasks with a store in a bucket, run by ansible-playbook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._store import s3
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION

ROOT = Path(s3.__file__).parents[6]  # where this collection was imported from
TEMPLATE = {"builders": [{"type": "file", "name": "disk", "content": "hello", "target": "{{template_dir}}/disk.img"}]}
DEFINITION = """
schema: 1
service: shop
version: 1.0.0
image:
  base: {debian: bookworm}
  provision: {playbook: site.yml}
health: {http: {port: 80}}
targets:
  local: {provider: qemu, fleet: {size: 1}}
"""


def play(folder: Path, *calls: tuple[str, dict[str, Any]], check: bool = False) -> list[dict[str, Any]]:
    """Run tasks, also after one has failed, and return their results. Options may be relative to the play's folder."""
    tasks: list[dict[str, Any]] = [
        {
            f"immutable.infra.{name}": {**options, "store": LOCATION},
            "register": f"result_{number}",
            "ignore_errors": True,
        }
        for number, (name, options) in enumerate(calls)
    ]
    results = ", ".join(f"result_{number}" for number in range(len(calls)))
    content = f"{{{{ [{results}] | to_json }}}}"
    copy = {"ansible.builtin.copy": {"content": content, "dest": str(folder / "result.json")}, "check_mode": False}
    tasks = [*({**task, "check_mode": check} for task in tasks), copy]
    (folder / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT)}
    subprocess.run(
        ["ansible-playbook", str(folder / "play.yml")],
        env=environment,
        cwd="/",
        check=True,
        capture_output=True,
    )
    found: list[dict[str, Any]] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")
def test_an_image_is_built_once_and_found_by_another_machine(
    bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "router").mkdir()
    (tmp_path / "router/disk.json").write_text(json.dumps(TEMPLATE))
    options = {"template": "router/disk.json", "service": "router", "version": "7"}
    [built] = play(tmp_path, ("image", options))
    assert built["changed"] is True
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    again, info = play(tmp_path, ("image", options), ("image_info", {"service": "router"}))
    assert again["changed"] is False
    [image] = info["images"]
    assert image["files"] == {"log": f"{LOCATION}/images/{image['digest'].removeprefix('sha256:')}/packer/packer.log"}
    assert not (tmp_path / "s3:").exists()


def test_what_needs_a_folder_fails_with_the_reason(bucket: S3Store, tmp_path: Path) -> None:
    (tmp_path / "immutable.yml").write_text(DEFINITION)
    (tmp_path / "site.yml").write_text("[]")
    needs_folder = f"so it needs a store in a folder (this one is {LOCATION})"
    options = {"definition": "immutable.yml", "target": "local"}
    for result in play(tmp_path, ("image", options), ("fleet_info", options), check=True):
        assert (
            result["failed"]
            and result["msg"].startswith(("a bake for the provider qemu", "the provider qemu"))
            and result["msg"].endswith(needs_folder)
        ), result
    variables = ["-e", f"immutable_store={LOCATION}", "-e", f"immutable_definition={tmp_path / 'immutable.yml'}"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT)}
    completed = subprocess.run(
        ["ansible-playbook", "immutable.infra.bake", *variables],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        completed.returncode == 2
        and f"a bake for the provider qemu keeps its disks and bases in the store, {needs_folder}"
        in completed.stdout + completed.stderr
    )
    [info] = play(tmp_path, ("definition_info", {"definition": "immutable.yml"}))
    assert info["digest"] is None and info["digest_missing"].endswith(f"is not built yet in {LOCATION}")
