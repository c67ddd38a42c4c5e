# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files beside the playbook are neither inputs nor sent to the build machine."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.inventory.fleet import SUFFIXES
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import ignore
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.tree import left_out, tree_files

TEXT = """\
schema: 1
service: shop
version: "1"
image:
  base: {debian: bookworm}
  provision: {playbook: play/provision.yml, vars_files: [play/.env.yml]}
health: {tcp: {port: 80}}
targets: {local: {provider: simulated}}
"""
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
SECRET = {
    "play/.vault_pass": ".vault_pass*",
    "play/group/.vault-pass-prod": ".vault-pass*",
    "play/vault_pass.txt": "vault_pass*.txt",
    "play/.env": ".env",
    "play/sub/.env.local": ".env.*",
    "play/keys/id_ed25519": "id_ed25519",
    "play/files/tls.key": "a private key",
    "play/files/chain.pem": "a private key",
    "play/.ssh/config": ".ssh/",
    "play/terraform.tfstate": "*.tfstate",
}
SENT = [
    *("play/keys/id_ed25519.pub", "play/files/ca.pem", "play/files/vaulted.key", "play/templates/.env.j2"),
    *("play/.env.example", "play/id_mapping.yml", "play/files/keyboard"),
]
NAMED = ["play/.env.yml", "play/provision.yml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "immutable.yml").write_text(TEXT)
    for name in (*SECRET, *SENT, *NAMED):
        write(tmp_path / name, KEY if SECRET.get(name) == "a private key" else "$ANSIBLE_VAULT\n")
    write(tmp_path / "play/files/chain.pem", "-----BEGIN CERTIFICATE-----\n" * 1000 + KEY)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sent(folder: Path) -> set[str]:
    return {str(path) for path in tree_files(load_definition(folder))}


def test_the_users_passwords_and_keys_are_left_out(folder: Path) -> None:
    assert sent(folder) == {*SENT, *NAMED}
    expected = {**SECRET, "play/.ssh/": ".ssh/"}
    del expected["play/.ssh/config"]
    assert left_out(load_definition(folder)) == expected


def test_patterns_of_the_user_come_last_and_decide(folder: Path) -> None:
    write(
        folder / ".immutableignore",
        "\n# Comment\n!play/files/*.key\n!.env\n/play/templates/\n*.pub\n!.ssh/\n"
        "play/**/id_mapping.yml\n!play/templates/.env.j2\n",
    )
    added = {"play/files/tls.key", "play/.env", "play/.ssh/config"}
    removed = {"play/templates/.env.j2", "play/keys/id_ed25519.pub", "play/id_mapping.yml"}
    assert sent(folder) == {*SENT, *NAMED, *added} - removed
    assert left_out(load_definition(folder))["play/templates/"] == "/play/templates/"


def test_a_file_that_the_definition_names_is_always_sent(folder: Path) -> None:
    write(folder / ".immutableignore", "play/*\n")
    assert sent(folder) == set(NAMED)
    assert not {*NAMED} & {*left_out(load_definition(folder))}


def test_the_file_of_patterns_is_not_sent_and_stands_beside_the_definition(folder: Path) -> None:
    (folder / "immutable.yml").write_text(TEXT.replace("play/", "").replace("[.env.yml]", "[play/.env.yml]"))
    write(folder / "provision.yml", "[]")
    write(folder / ".immutableignore", "play/files/\n")
    assert ".immutableignore" not in sent(folder)
    write(folder / "play/.immutableignore", "*")
    with pytest.raises(DefinitionError, match=r"play/\.immutableignore is not read; move its patterns to .*"):
        sent(folder)


def test_an_encrypted_key_of_ansible_vault_and_a_link_are_sent(folder: Path) -> None:
    (folder / "play/link.key").symlink_to("files/tls.key")
    assert {"play/files/vaulted.key", "play/link.key"} <= sent(folder)


@pytest.mark.parametrize("content", [b"!\n", b"\xff\xfe", b"x" * (3 * 1024**2)])
def test_a_file_of_patterns_with_a_mistake_is_named(folder: Path, content: bytes) -> None:
    (folder / ".immutableignore").write_bytes(content)
    with pytest.raises(DefinitionError, match=r"/\.immutableignore: "):
        sent(folder)


def test_a_missing_library_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignore, "pathspec", None)
    with pytest.raises(DefinitionError, match=r"pathspec is missing on the controller; .* \(pip install pathspec\)"):
        sent(folder)


def test_what_packer_leaves_beside_the_playbook_is_left_out(folder: Path) -> None:
    manifest = {"builds": [{"name": "a", "packer_run_uuid": "1"}], "last_run_uuid": "1"}
    before = sent(folder)
    write(folder / "play/packer_cache/a.iso", "x")
    write(folder / "play/manifest.json", json.dumps(manifest, indent=2))
    assert sent(folder) == before
    expected = {"play/packer_cache/": "packer_cache/", "play/manifest.json": "a manifest of Packer"}
    assert expected.items() <= left_out(load_definition(folder)).items()
    write(folder / ".immutableignore", "!*.json\n!packer_cache/\n")
    assert sent(folder) == {*before, "play/manifest.json", "play/packer_cache/a.iso"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_inventory_of_the_running_hosts_is_left_out(folder: Path, suffix: str) -> None:
    before = sent(folder)
    for name in (f"play/shop.{suffix}", f"play/inventories/{suffix}"):
        write(folder / name, "plugin: immutable.infra.fleet\n")
    assert sent(folder) == before


def test_a_report_with_its_default_name_is_left_out(folder: Path) -> None:
    before = sent(folder)
    playbook = Path(ignore.__file__).parents[3] / "playbooks/report.yml"
    [name] = re.findall(r"immutable_report \| default\('(.+?)'", playbook.read_text(encoding="utf-8"))
    write(folder / "play" / name, "<!DOCTYPE html>")
    assert sent(folder) == before


def test_as_in_git_a_file_in_a_folder_that_is_left_out_cannot_be_added(folder: Path) -> None:
    write(folder / ".immutableignore", "/play/files/\n!/play/files/ca.pem\n")
    assert "play/files/ca.pem" not in sent(folder)
    write(folder / ".immutableignore", "/play/files/*\n!/play/files/ca.pem\n")
    assert "play/files/ca.pem" in sent(folder)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("name", ["play/files/it", "play/ansible.cfg"])
def test_a_pipe_or_socket_beside_the_playbook_is_an_error(
    folder: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    monkeypatch.chdir(path.parent)  # the path of a socket has a maximum length
    if kind == "pipe":
        os.mkfifo(path.name)
    else:
        socket.socket(socket.AF_UNIX).bind(path.name)
    with pytest.raises(
        DefinitionError, match=rf"/{name}: is neither a file, a folder nor a link, .* move it elsewhere"
    ):
        sent(folder)
    write(folder / ".immutableignore", f"{name}\n")
    assert name not in sent(folder)


def test_a_pipe_as_the_file_of_patterns_is_an_error(folder: Path) -> None:
    os.mkfifo(folder / ".immutableignore")
    with pytest.raises(DefinitionError, match=r"/\.immutableignore: cannot be read: it is a pipe, socket or device"):
        sent(folder)
