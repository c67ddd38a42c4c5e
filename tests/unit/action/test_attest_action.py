# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of host_attest in a real ansible-playbook: which manifest it reads, and when it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _attest as attest

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# the folder of ansible_collections, as imported: a symbolic link in the path stays one
ROOT = Path(attest.__file__).parents[5]


@pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-playbook is not installed")
def test_each_host_gets_the_reason_why_it_cannot_be_compared(tmp_path: Path) -> None:
    image = "sha256:" + "a" * 64
    known = {"immutable_image": image, "immutable_build": "qemu-x86_64", "immutable_store": str(tmp_path / "store")}
    damaged = tmp_path / "store/images" / ("b" * 64) / "qemu-x86_64/manifest.json.gz"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no manifest")
    hosts = {
        "closed": {**known, "immutable_shell": "off"},
        "stranger": {},
        "forgotten": known,
        "contained": {**known, "immutable_shell": "off", "immutable_container": "shop-0"},
        "damaged": {**known, "immutable_image": "sha256:" + "b" * 64},
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"immutable.infra.host_attest": {}}]}])
    )
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml"}
    argv = [
        PLAYBOOK,
        "-i",
        tmp_path / "hosts.json",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        tmp_path / "play.yml",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **settings}, check=False)
    assert done.returncode == 2, done.stderr
    messages = {
        host: json.loads(result)["msg"]
        for host, result in re.findall(r"^fatal: \[(\w+)\]: FAILED! => (.*)$", done.stdout, re.MULTILINE)
    }
    assert set(messages) == set(hosts), done.stdout
    assert "shell: off" in messages["closed"]
    assert "needs image and store" in messages["stranger"]
    assert f"no manifest of image {image}" in messages["forgotten"]
    assert f"no manifest of image {image}" in messages["contained"], "a container needs no login"
    assert "cannot compare this host with its image" in messages["damaged"] or "only root" in messages["damaged"]
