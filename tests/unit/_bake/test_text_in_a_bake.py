# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of a definition reach the playbook of a bake as they are written, through a real ansible-playbook."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing import vault
from ansible.parsing.dataloader import DataLoader
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.payload import make_payload
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import bake_variables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.tests.support import traps
from ansible_collections.immutable.infra.tests.support.vaults import SECRETS

DEFINITION = """\
schema: 1
service: shop
version: "1"
image:
  base: {debian: bookworm}
  provision:
    playbook: provision.yml
    vars_files: [files.yml]
    vars: VARS
health: {http: {port: 80}}
targets: {local: {provider: qemu}}
"""
PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ {'text': text, 'deep': deep, 'vaulted': vaulted, 'of_file': of_file, 'unsafe': unsafe,
          'hidden': hidden} | to_json }}"
        dest: FOLDER/seen.json
        mode: "0600"
"""


def encrypted(text: str) -> str:
    lines = vault.VaultLib(SECRETS).encrypt(text).decode().splitlines()
    return "!vault |\n" + "".join(f"          {line}\n" for line in lines)


def write(folder: Path, variables: str, files: str) -> Path:
    (folder / "immutable.yml").write_text(DEFINITION.replace("VARS", variables), encoding="utf-8")
    (folder / "provision.yml").write_text(PLAYBOOK.replace("FOLDER", str(folder)), encoding="utf-8")
    (folder / "files.yml").write_text(files, encoding="utf-8")
    return folder / "immutable.yml"


def test_a_template_is_a_text_in_the_guest(tmp_path: Path, loader: DataLoader) -> None:
    hostile, (folder, lib) = traps.template(tmp_path / "ran"), (tmp_path / "definition", tmp_path / "lib")
    folder.mkdir()
    lib.mkdir()
    text = f"{hostile} {{% raw %}} {{# x #}} \\ ' \" \n \U0001f600"
    definition = load_definition(
        write(
            folder,
            f"\n      text: {json.dumps(text)}\n      deep: [{{a: {json.dumps(hostile)}}}]\n"
            f"      vaulted: {encrypted(hostile)}",
            f'of_file: "{{{{ 1 + 1 }}}}x"\nunsafe: !unsafe "{{{{ 1 + 1 }}}}x"\nhidden: {encrypted(hostile)}',
        )
    )
    variables = bake_variables(definition, loader)
    payload = make_payload(
        definition, digest="sha256:0", ansible=lib, collections=None, variables=variables.plain, marker="m"
    )
    with tarfile.open(fileobj=BytesIO(payload.archive)) as archive:
        content = archive.extractfile("vars.json")
        assert content
        (tmp_path / "vars.json").write_bytes(content.read())
    (tmp_path / "secrets.json").write_text(json.dumps(dict(variables.secret)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
        + ["-e", f"ansible_python_interpreter={sys.executable}"]
        + ["-e", f"@{tmp_path}/vars.json", "-e", f"@{tmp_path}/secrets.json", str(folder / "provision.yml")],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert seen == {
        "text": text,
        "deep": [{"a": hostile}],
        "vaulted": hostile,
        "of_file": "2x",  # a file of variables is Ansible's own, with templates
        "unsafe": "{{ 1 + 1 }}x",
        "hidden": hostile,
    }
    assert not (tmp_path / "ran").exists()
    # What is searched for and redacted is the text itself.
    assert set(variables.values.values()) == {hostile}


@pytest.mark.parametrize("written", ["!!binary aGVsbG8=", "!!set {a, b}"])
def test_a_value_that_is_no_data_is_refused(tmp_path: Path, loader: DataLoader, written: str) -> None:
    definition = load_definition(write(tmp_path, "{}", f"a: [{written}]\n"))
    with pytest.raises(BakeError, match=r"variable a\[0\] is of the type \w+ \(allowed: text, numbers, "):
        bake_variables(definition, loader)


def test_a_date_of_a_file_is_text(tmp_path: Path, loader: DataLoader) -> None:
    definition = load_definition(write(tmp_path, "{day: 2024-02-03}", "released: 2024-02-03\n"))
    assert bake_variables(definition, loader).plain == {"day": "2024-02-03", "released": "2024-02-03"}
