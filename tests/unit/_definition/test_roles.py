# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles beside a definition whose playbook is in a subfolder."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.payload import make_payload
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.programs import module_command
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.tree import tree_entries, tree_files

TEXT = """\
schema: 1
service: shop
version: "1"
image:
  base: {debian: bookworm}
  provision: {playbook: deploy/books/provision.yml, requirements: requirements.yml}
health: {tcp: {port: 80}}
targets: {local: {provider: simulated}}
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  roles: [inner, {role: listed}, community.general.mapped, galaxy.web, plain]
  tasks:
    - block:
        - ansible.builtin.import_role: {name: imported, tasks_from: more}
        - include_role: name=short
    - include_tasks: tasks/late.yml
    - ansible.builtin.include_role: {name: "{{ any }}"}
      when: false
- ansible.builtin.import_playbook: sub/other.yml
"""
FILES = {
    "deploy/books/tasks/late.yml": "- ansible.builtin.include_role: {name: late}\n",
    "deploy/books/sub/other.yml": "- {hosts: all, gather_facts: false, roles: [other], vars: {x: !vault abc}}\n",
    "deploy/books/unused.yml": "- {hosts: all, roles: [unused]}\n",
    "deploy/books/roles/inner/tasks/main.yml": "- ansible.builtin.debug: {msg: I am inner}\n",
    "requirements.yml": "roles: [{name: galaxy.web, src: https://e.org/x.git}, {src: https://e.org/plain.git}]\n",
    "roles/listed/meta/main.yml": "dependencies: [{role: needed}]\n",
    "roles/.git/HEAD": "x",
}
USED = ("listed", "imported", "short", "late", "other", "needed")
UNUSED = ("inner", "unused", "galaxy.web", "plain", "main")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "immutable.yml", TEXT)
    write(tmp_path / "deploy/books/provision.yml", PLAYBOOK)
    for name, text in FILES.items():
        write(tmp_path / name, text)
    for name in (*USED, *UNUSED):
        write(tmp_path / f"roles/{name}/tasks/main.yml", f"- ansible.builtin.debug: {{msg: I am {name}}}\n")
    write(tmp_path / "roles/imported/tasks/more.yml", "- ansible.builtin.debug: {msg: I am more}\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def outer(folder: Path) -> set[str]:
    """The roles of the definition's folder that are sent."""
    return {path.parts[1] for path in tree_files(load_definition(folder)) if path.parts[0] == "roles"}


def test_the_roles_that_the_playbook_names_are_sent_and_others_are_not(folder: Path) -> None:
    assert outer(folder) == set(USED)


def test_a_change_of_such_a_role_changes_the_inputs(folder: Path) -> None:
    before = tree_entries(load_definition(folder))
    write(folder / "roles/needed/templates/a.j2", "changed")
    (folder / "roles/needed/templates/b.j2").symlink_to("a.j2")
    after = tree_entries(load_definition(folder))
    assert set(after) - set(before) == {"roles/needed/templates/a.j2", "roles/needed/templates/b.j2"}
    write(folder / ".immutableignore", "templates/\n")
    assert tree_entries(load_definition(folder)) == before


def test_the_guest_finds_the_roles(folder: Path, tmp_path: Path) -> None:
    write(folder / "requirements.yml", "collections: []\n")
    text = PLAYBOOK.replace(", community.general.mapped, galaxy.web, plain", "").partition(
        "- ansible.builtin.import_pl"
    )[0]
    write(folder / "deploy/books/provision.yml", text)
    (tmp_path / "lib").mkdir()
    payload = make_payload(
        load_definition(folder),
        digest=f"sha256:{'cd' * 32}",
        ansible=tmp_path / "lib",
        collections=None,
        variables={},
        marker="immutable-payload-0123456789abcdef",
    )
    guest = tmp_path / "guest"
    with tarfile.open(fileobj=io.BytesIO(payload.archive)) as archive:
        archive.extractall(guest)
    environment = {
        **os.environ,
        "ANSIBLE_ROLES_PATH": f"{guest}/tree/roles:{guest}/collections/roles",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "temp"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }
    arguments = ["-i", "localhost,", "-c", "local", "tree/deploy/books/provision.yml"]
    done = subprocess.run(
        module_command("ansible", "playbook", *arguments),
        cwd=guest,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name in (*USED, "inner") if f"I am {name}" in done.stdout} == {
        *("inner", "listed", "needed", "short", "late")
    }


def test_a_role_where_the_guest_does_not_search_is_refused(folder: Path) -> None:
    (folder / "deploy/roles").mkdir()
    (folder / "roles/late").rename(folder / "deploy/roles/late")
    with pytest.raises(
        DefinitionError,
        match=r"deploy/books/tasks/late\.yml: the role late is in .*/deploy/roles/late, where the build machine "
        r"does not search for it \(allowed: .*/deploy/books/roles, .*/roles\); move it there",
    ):
        outer(folder)


def test_a_playbook_beside_the_definition_sends_its_folder_as_before(folder: Path) -> None:
    write(folder / "immutable.yml", TEXT.replace("deploy/books/", ""))
    write(folder / "provision.yml", PLAYBOOK)
    assert outer(folder) == {*USED, *UNUSED}
