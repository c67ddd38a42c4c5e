# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A child playbook has the vault passwords and paths of the ansible-playbook that runs it, wherever they came from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts import playbook
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.vault_passwords import (
    VaultPassword,
    passed_passwords,
)
from ansible_collections.immutable.infra.tests.support.vaults import encrypt_file

ROOT = Path(playbook.__file__).parents[6]  # where this collection was imported from
PASSWORD = "a long password, with spaces"
# An action of the playbook's own folder, in the place of one of this collection.
ACTION = """
import tempfile
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.playbook_arguments import playbook_run


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        with tempfile.TemporaryDirectory() as folder:
            try:
                playbook_run(self._loader)(
                    Path(self._task.args["playbook"]), {}, workdir=Path(folder), timeout=600.0, report=lambda line: None
                )
            except ImmutableError as error:
                return {"failed": True, "msg": error.message, "last_lines": error.details.get("last_lines")}
        return {"changed": False}
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - child: {playbook: GATES/ask.yml}
"""
GATE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_vars: {file: vaulted.yml}
    - ansible.builtin.include_role: {name: shared}
"""
ROLE = """
- ansible.builtin.copy: {content: "{{ token }}", dest: "{{ playbook_dir }}/token", mode: "0600"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder where ansible-playbook starts. The gate's playbook is in another one."""
    files = {
        "run/action_plugins/child.py": ACTION,
        "run/play.yml": PLAY.replace("GATES", f"{tmp_path}/gates"),
        "run/roles/shared/tasks/main.yml": ROLE,
        "run/pw": f"{PASSWORD}\n",
        "run/other": "another password\n",
        "gates/ask.yml": GATE,
        "gates/vaulted.yml": "token: hidden-token\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    script = tmp_path / "run/pw.sh"
    script.write_text(f"#!/bin/sh\necho x >> {tmp_path}/run/asked\necho '{PASSWORD}'\n")
    script.chmod(0o700)
    return tmp_path / "run"


@pytest.fixture
def encrypt(folder: Path) -> Callable[[str], None]:
    """Encrypt the gate's variables with the password and a label."""
    return lambda label: encrypt_file(folder.parent / "gates/vaulted.yml", label, PASSWORD)


def environment(**changes: str) -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
        "ANSIBLE_ROLES_PATH": "roles",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        **changes,
    }


def play(folder: Path, arguments: str = "", **changes: str) -> None:
    command = f"exec {sys.executable} -m ansible playbook play.yml {arguments}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(**changes), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_a_child_finds_the_collections_that_are_installed_in_the_usual_place(folder: Path, tmp_path: Path) -> None:
    """The default of the setting is a template, which a child would read as a path."""
    home = tmp_path / "home"
    usual = home / ".ansible/collections/ansible_collections"
    usual.mkdir(parents=True)
    (usual / "immutable").symlink_to(ROOT / "ansible_collections/immutable")
    gate = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - immutable.infra.show: {lines: [found]}\n"
    (folder.parent / "gates/ask.yml").write_text(gate)
    kept = {
        name: text for name, text in environment().items() if name not in ("ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "play.yml"],
        cwd=folder,
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def token(folder: Path) -> str:
    return (folder.parent / "gates/token").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        "--vault-password-file pw",
        "--vault-password-file <(cat pw)",
        "--vault-id first@other --vault-id default@pw",
        "--vault-id default@pw --vault-id with,comma@other",
    ],
)
def test_passwords_of_the_command_line(folder: Path, encrypt: Callable[[str], None], arguments: str) -> None:
    encrypt("default")
    play(folder, arguments)
    assert token(folder) == "hidden-token"


def test_a_script_is_asked_once(folder: Path, encrypt: Callable[[str], None]) -> None:
    encrypt("default")
    play(folder, "--vault-password-file ./pw.sh")
    assert token(folder) == "hidden-token" and (folder / "asked").read_text() == "x\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"ANSIBLE_VAULT_PASSWORD_FILE": "pw"},
        {"ANSIBLE_VAULT_PASSWORD_FILE": "other", "ANSIBLE_VAULT_IDENTITY_LIST": "team@pw"},
    ],
)
def test_passwords_of_the_environment(folder: Path, encrypt: Callable[[str], None], changes: dict[str, str]) -> None:
    encrypt("team")
    play(folder, **changes)
    assert token(folder) == "hidden-token"


def test_labels_are_kept(folder: Path, encrypt: Callable[[str], None]) -> None:
    encrypt("team")
    play(folder, "--vault-id team@pw --vault-id default@other", ANSIBLE_VAULT_ID_MATCH="true")
    assert token(folder) == "hidden-token"


def test_a_configured_script_is_asked_once(folder: Path, encrypt: Callable[[str], None]) -> None:
    encrypt("default")
    (folder / "ansible.cfg").write_text("[defaults]\nvault_password_file = pw.sh\n")
    play(folder)
    assert token(folder) == "hidden-token" and (folder / "asked").read_text() == "x\n"


@pytest.mark.parametrize(
    ("arguments", "configuration", "prompt"),
    [
        ("--ask-vault-pass", "", "Vault password: "),  # as AWX does it, by ansible-runner
        ("--vault-id team@prompt", "", r"Vault password \(team\): "),
        ("", "ask_vault_pass = true\n", "Vault password: "),
        ("", "vault_identity_list = team@prompt\n", r"Vault password \(team\): "),
    ],
)
def test_a_password_that_was_typed(
    folder: Path, encrypt: Callable[[str], None], arguments: str, configuration: str, prompt: str
) -> None:
    encrypt("team")
    (folder / "ansible.cfg").write_text(f"[defaults]\n{configuration}")
    argv = ["-m", "ansible", "playbook", "play.yml", *arguments.split()]
    terminal = pexpect.spawn(
        sys.executable, argv, cwd=str(folder), env=environment(), encoding="utf-8", timeout=600, echo=False
    )
    terminal.expect(prompt)
    terminal.sendline(PASSWORD)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0, terminal.before
    assert token(folder) == "hidden-token"


OTHER_PLAYBOOKS = """
[defaults]
callbacks_enabled = noted
callback_plugins = callbacks
yaml_valid_extensions = .yml
[tags]
run = web
skip = slow
[inventory]
enable_plugins = ansible.builtin.ini
"""
NOTED = """
from pathlib import Path

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "noted"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        with Path(playbook._basedir, "noted").open("a") as file:
            file.write("x")
"""


def test_a_child_playbook_runs_whole_whatever_is_configured(folder: Path) -> None:
    (folder / "ansible.cfg").write_text(OTHER_PLAYBOOKS)
    (folder / "callbacks").mkdir()
    (folder / "callbacks/noted.py").write_text(NOTED)
    (folder / "play.yml").write_text((folder / "play.yml").read_text() + "      tags: web\n")
    gate = folder.parent / "gates/ask.yml"
    gate.write_text(gate.read_text() + "      tags: slow\n")
    play(folder)
    assert token(folder) == "hidden-token"
    assert (folder.parent / "gates/noted").read_text() == "x", "callbacks of the configuration are still enabled"


def test_no_password_is_in_an_argument_or_the_environment() -> None:
    with passed_passwords([VaultPassword("team", b"hidden", configured=True)]) as passed:
        assert "hidden" not in f"{passed} {VaultPassword('team', b'hidden')}"
        assert [os.read(each, 100) for each in passed.descriptors] == [b"hidden", b"hidden"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passed.descriptors[0])


def test_a_password_that_no_pipe_holds_is_refused() -> None:
    with pytest.raises(ImmutableError, match="more than a pipe can hold"):
        with passed_passwords([VaultPassword("team", b"x" * 2_000_000)]):
            pass
