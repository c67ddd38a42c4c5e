# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inline vaulted values, as a task gets them with this ansible-core."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import Templar
from ansible_collections.immutable.infra.plugins.action.image import _job
from ansible_collections.immutable.infra.plugins.module_utils._packer.variables import pass_variables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.vaulted import decrypted, is_vaulted
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import SecretRef
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder

VAULT = [("default", VaultSecret(b"a long password"))]


@pytest.fixture
def loader() -> DataLoader:
    loader = DataLoader()
    loader.set_vault_secrets(VAULT)
    try:
        from ansible.parsing.vault import VaultSecretsContext
    except ImportError:  # before ansible-core 2.19
        return loader
    if VaultSecretsContext.current(optional=True) is None:
        VaultSecretsContext.initialize(VaultSecretsContext(VAULT))
    return loader


@pytest.fixture
def options(loader: DataLoader) -> dict[str, Any]:
    """Options of the module image, as the task's worker templates them."""
    ciphertext = VaultLib(VAULT).encrypt("hidden-token").decode()
    inline = "!vault |\n" + "".join(f"          {line}\n" for line in ciphertext.splitlines())
    text = f"secrets:\n  password: {inline}vars:\n  size: 2\n  token: {inline}  deep:\n    - key: {inline}"
    task = loader.load(text)
    given = {name: Templar(loader=loader, variables={}).template(value) for name, value in task.items()}
    return {"service": "demo", "version": "1", "template": "a.pkr.hcl", "var_files": [], "inputs": [], **given}


def test_inline_values_are_text_for_packer_and_never_recorded(options: dict[str, Any]) -> None:
    job = _job(options, SimpleNamespace(path=Path, folder=Path()))  # type: ignore[arg-type]
    assert job.vars == {"size": 2}
    assert job.secrets == {"password": "hidden-token", "token": "hidden-token", "deep": [{"key": "hidden-token"}]}
    assert json.loads(json.dumps(job.secrets)) == job.secrets
    passed = pass_variables("a.pkr.hcl", {}, job.secrets)
    assert passed.environment["PKR_VAR_password"] == "hidden-token"
    assert passed.environment["PKR_VAR_deep"] == '[{"key": "hidden-token"}]'


def test_a_vaulted_variable_that_is_a_secret_too_is_refused(options: dict[str, Any]) -> None:
    options["secrets"]["token"] = "x"
    with pytest.raises(ImmutableError, match="in both vars and secrets: token"):
        _job(options, SimpleNamespace(path=Path, folder=Path()))  # type: ignore[arg-type]


def test_only_vaulted_values_are_vaulted(options: dict[str, Any]) -> None:
    assert is_vaulted(options["secrets"]) and is_vaulted(options["vars"]["deep"])
    assert not any(map(is_vaulted, ("text", 1, None, True, b"x", {"a": ["b"]})))
    assert decrypted({"a": ("b", 1)}) == {"a": ["b", 1]}


def test_a_mapping_as_a_secret_of_a_host_is_json(options: dict[str, Any]) -> None:
    values = {"conf": {"user": "a", "tls": True, "token": options["vars"]["token"]}, "list": ["ä"], "number": 5}
    references = {name: SecretRef("variable", name) for name in values}
    found = SecretFinder(values, lambda value: value)(references)
    assert json.loads(found["conf"]) == {"user": "a", "tls": True, "token": "hidden-token"}
    assert json.loads(found["list"]) == ["ä"] and found["number"] == "5"


def test_a_vaulted_or_unsafe_secret_is_no_template(loader: DataLoader) -> None:
    ciphertext = VaultLib(VAULT).encrypt("{{ 1 + 1 }}x").decode()
    inline = "!vault |\n" + "".join(f"          {line}\n" for line in ciphertext.splitlines())
    values = loader.load(f"vaulted: {inline}unsafe: !unsafe '{{{{ 1 + 1 }}}}x'\n")
    templar = Templar(loader=loader, variables=values)
    references = {name: SecretRef("variable", name) for name in values}
    assert SecretFinder(values, templar.template)(references) == {"vaulted": "{{ 1 + 1 }}x", "unsafe": "{{ 1 + 1 }}x"}
