# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible.parsing import vault
from ansible.parsing.dataloader import DataLoader
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import bake_variables, texts_of
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition, Vaulted
from ansible_collections.immutable.infra.tests.support.vaults import SECRETS


def encrypted(text: str) -> str:
    return vault.VaultLib(SECRETS).encrypt(text).decode()


def test_only_vaulted_values_are_secret(define: Callable[..., Definition], loader: DataLoader) -> None:
    values = {
        "port": 8080,
        "token": Vaulted(encrypted("tok-123456")),
        "db": {"user": "shop", "password": Vaulted(encrypted("pass-654321"))},
    }
    definition = define(vars=values, vars_files=("plain.yml", "vaulted.yml"))
    (definition.folder / "plain.yml").write_text("owner: www-data\n")
    (definition.folder / "vaulted.yml").write_text(encrypted("licence: [key-1, key-2]\n"))
    found = bake_variables(definition, loader)
    assert found.plain == {"owner": "www-data", "port": 8080}
    assert found.secret == {
        "licence": ["key-1", "key-2"],
        "token": "tok-123456",
        "db": {"user": "shop", "password": "pass-654321"},
    }
    assert sorted(found.values.values()) == ["key-1", "key-2", "pass-654321", "tok-123456"]
    assert "variable db.password" in found.values


def test_a_value_vaulted_within_a_file_makes_that_variable_secret(
    define: Callable[..., Definition], loader: DataLoader
) -> None:
    definition = define(vars_files=("mixed.yml",))
    lines = "".join(f"  {line}\n" for line in encrypted("inline-secret").splitlines())
    (definition.folder / "mixed.yml").write_text(f"colour: blue\ntoken: !vault |\n{lines}")
    found = bake_variables(definition, loader)
    assert (found.plain, found.secret) == ({"colour": "blue"}, {"token": "inline-secret"})


def test_vars_override_files_and_a_name_is_either_plain_or_secret(
    define: Callable[..., Definition], loader: DataLoader
) -> None:
    definition = define(vars={"token": "plain now", "port": 2}, vars_files=("a.yml",))
    (definition.folder / "a.yml").write_text(encrypted("token: was secret\nport: 1\n"))
    found = bake_variables(definition, loader)
    assert (found.plain, found.secret) == ({"token": "plain now", "port": 2}, {})
    assert not found.values


def test_secrets_are_not_in_the_repr(define: Callable[..., Definition], loader: DataLoader) -> None:
    found = bake_variables(define(vars={"token": Vaulted(encrypted("tok-123456"))}), loader)
    assert "tok-123456" not in repr(found)


def test_a_value_that_cannot_be_decrypted_is_named(define: Callable[..., Definition], loader: DataLoader) -> None:
    other = vault.VaultLib([("default", vault.VaultSecret(b"another"))]).encrypt("x").decode()
    with pytest.raises(BakeError, match="cannot decrypt variable token: .* its vault id"):
        bake_variables(define(vars={"token": Vaulted(other)}), loader)
    definition = define(vars_files=("list.yml",))
    (definition.folder / "list.yml").write_text("- a\n")
    with pytest.raises(BakeError, match=r"list.yml must contain variables"):
        bake_variables(definition, loader)


def test_a_secret_of_several_lines_is_redacted_line_by_line() -> None:
    assert list(texts_of({"key": "BEGIN KEY\nabcdefgh\n}"})) == ["BEGIN KEY\nabcdefgh\n}", "BEGIN KEY", "abcdefgh"]
