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
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _attest as attest
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.attest import result_of_host

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# the folder of ansible_collections, as imported: a symbolic link in the path stays one
ROOT = Path(attest.__file__).parents[5]


HOSTILE = "\x1b]0;taken\x07\u202e{{ lookup('pipe', 'id') }}"
COMPARED = {
    "changed": False,
    "attested": False,
    "differences": [{"kind": "changed", "path": HOSTILE, "found": "x"}],
    "count": 1,
    "checked": 1,
    "not_compared": [],
    "refused": [],
    "seconds": 0.1,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"differences": {}},
        {"differences": ["x"]},
        {"differences": [{"kind": [], "path": "/"}]},
        {"count": "x"},
        {"checked": None},
        {"seconds": float("nan"), "not_compared": 5},
        {"attested": [1]},
        {"refused": [[[[]]]]},
    ],
    ids=repr,
)
def test_what_is_no_comparison_is_a_failure_of_that_host(changes: dict[str, Any]) -> None:
    result = result_of_host({**COMPARED, **changes}, "web-1", 100)
    assert result["failed"] and "attested" not in result
    assert "web-1 returned something else than a comparison" in result["msg"]


def test_text_that_ansible_marked_is_text() -> None:
    class Marked(str):
        """As ansible-core before 2.19 marks what comes from a host."""

    marked = {**COMPARED, "differences": [{name: Marked(text) for name, text in COMPARED["differences"][0].items()}]}
    assert result_of_host(marked, "web-1", 100)["differences"] == COMPARED["differences"]


def test_only_what_a_comparison_returns_is_taken_over() -> None:
    more = {"add_host": {"host_name": "x"}, "ansible_facts": {"ansible_connection": "local"}, "failed": True}
    result = result_of_host({**COMPARED, **more, "msg": HOSTILE, "differences": COMPARED["differences"] * 500}, "w", 7)
    assert {*result} == {*COMPARED, "failed", "msg"}
    assert len(result["differences"]) == 7
    assert result["msg"].startswith("w differs from its image in 1 places")
    failure = result_of_host({"failed": True, "msg": HOSTILE, **more}, "web-1", 100)
    assert {*failure} == {"failed", "msg"}


@pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-playbook is not installed")
def test_text_of_a_host_controls_no_terminal(tmp_path: Path) -> None:
    """Root on a host can put anything in place of Python."""
    python = tmp_path / "python3"
    answer = json.dumps({**COMPARED, "failed": True, "msg": HOSTILE})
    python.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {tmp_path}/answer\n")
    python.chmod(0o755)
    (tmp_path / "answer").write_text(answer)
    manifest = tmp_path / "store/images" / ("a" * 64) / "qemu-x86_64/manifest.json.gz"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b"any")
    known = {
        "immutable_image": "sha256:" + "a" * 64,
        "immutable_build": "qemu-x86_64",
        "immutable_store": str(tmp_path / "store"),
        "ansible_python_interpreter": str(python),
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"web-1": known}}}))
    tasks = [
        {"immutable.infra.host_attest": {}, "register": "found", "failed_when": False},
        {"ansible.builtin.fail": {"msg": "{{ found.msg }}"}},
    ]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml"}
    done = subprocess.run(
        [PLAYBOOK, "-i", tmp_path / "hosts.json", "-c", "local", tmp_path / "play.yml"],
        capture_output=True,
        text=True,
        env={**os.environ, **settings, "ANSIBLE_PIPELINING": "true"},
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 2 and "differs from its image" in shown, shown
    assert "\x1b" not in shown and "\u202e" not in shown and "uid=" not in shown, shown


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
