# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Ansible's configuration names as a vault password or private key never reaches the build machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.private_files import (
    check_payload,
    payload_summary,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition


@pytest.fixture
def definition(define: Callable[..., Definition], monkeypatch: pytest.MonkeyPatch) -> Definition:
    definition = define()
    (definition.folder / "secrets").mkdir()
    for name in ("phrase", "other", "harmless"):
        (definition.folder / "secrets" / name).write_text(f"{name}\n")
    monkeypatch.chdir(definition.folder)
    return definition


def refused(definition: Definition, **variables: Any) -> dict[str, str]:
    found = payload_summary(definition, variables)["refused"]
    return {entry["path"]: entry["reason"] for entry in found}


@pytest.mark.parametrize(
    "setting",
    [
        "vault_password_file = secrets/phrase",
        "vault_password_file = {folder}/secrets/phrase  ; the phrase",
        "vault_identity_list = dev@prompt, prod@secrets/phrase",
        "private_key_file = ./secrets/phrase",
        "connection_password_file = secrets/../secrets/phrase",
    ],
)
def test_what_a_configuration_beside_the_playbook_names_is_refused(definition: Definition, setting: str) -> None:
    file = definition.folder / "ansible.cfg"
    file.write_text("[defaults]\n" + setting.format(folder=definition.folder) + "\n")
    assert refused(definition) == {"secrets/phrase": f"{setting.partition(' ')[0]} of {file}"}


@pytest.mark.parametrize(
    "variable, value, setting",
    [
        ("ANSIBLE_VAULT_PASSWORD_FILE", "secrets/phrase", "vault_password_file"),
        ("ANSIBLE_VAULT_IDENTITY_LIST", "prod@secrets/phrase", "vault_identity_list"),
        ("ANSIBLE_PRIVATE_KEY_FILE", "secrets/phrase", "private_key_file"),
        ("ANSIBLE_BECOME_PASSWORD_FILE", "secrets/phrase", "become_password_file"),
    ],
)
def test_what_the_environment_names_is_refused(
    definition: Definition, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, setting: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert refused(definition) == {"secrets/phrase": f"{setting} of env: {variable}"}


def test_what_the_command_line_and_a_variable_name_is_refused(
    definition: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"vault_ids": ("prod@secrets/phrase", "dev@prompt"), "private_key_file": "secrets/other"}
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(arguments))
    assert refused(definition) == {
        "secrets/phrase": "the option --vault-id",
        "secrets/other": "the option --private-key",
    }
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict())
    found = refused(definition, ansible_ssh_private_key_file=str(definition.folder / "secrets/other"))
    assert found == {"secrets/other": "the variable ansible_ssh_private_key_file"}


def test_another_name_of_the_same_file_is_refused(definition: Definition, tmp_path: Path) -> None:
    os.link(definition.folder / "secrets/phrase", tmp_path / "phrase")
    (tmp_path / "link").symlink_to(tmp_path / "phrase")
    (definition.folder / "ansible.cfg").write_text(f"[defaults]\nvault_password_file = {tmp_path}/link\n")
    assert set(refused(definition)) == {"secrets/phrase"}


def test_a_bake_fails_with_the_way_out(definition: Definition) -> None:
    check_payload(definition, {})
    (definition.folder / "ansible.cfg").write_text("[defaults]\nvault_password_file = secrets/phrase\n")
    with pytest.raises(BakeError) as caught:
        check_payload(definition, {})
    assert caught.value.message == (
        "the build machine must not get the user's passwords and private keys, but these files are in the folder of "
        f"the provision playbook: secrets/phrase (vault_password_file of {definition.folder}/ansible.cfg). "
        f"Add them to {definition.folder}/.immutableignore, or move them elsewhere"
    )
    (definition.folder / ".immutableignore").write_text("secrets/phrase\n")
    check_payload(definition, {})
    assert "secrets/phrase" not in payload_summary(definition, {})["files"]


def test_a_default_pattern_that_the_user_lifted_does_not_send_the_vault_password(definition: Definition) -> None:
    (definition.folder / ".vault_pass").write_text("phrase\n")
    (definition.folder / "ansible.cfg").write_text("[defaults]\nvault_password_file = .vault_pass\n")
    check_payload(definition, {})
    (definition.folder / ".immutableignore").write_text("!.vault_pass\n")
    with pytest.raises(BakeError, match=r"\.vault_pass \(vault_password_file of "):
        check_payload(definition, {})


@pytest.mark.parametrize(
    "text", ["[defaults", "\x00", "[defaults]\nvault_password_file =\n", "[defaults]\nvault_password_file = a\0b\n"]
)
def test_a_configuration_with_mistakes_names_nothing(definition: Definition, text: str) -> None:
    (definition.folder / "ansible.cfg").write_text(text)
    assert refused(definition) == {}


def test_the_summary_lists_what_is_sent_and_what_is_not(definition: Definition) -> None:
    (definition.folder / ".env").write_text("TOKEN=1\n")
    assert payload_summary(definition, {}) == {
        "files": ["provision.yml", "secrets/harmless", "secrets/other", "secrets/phrase"],
        "left_out": [{"path": ".env", "reason": ".env"}],
        "refused": [],
    }
