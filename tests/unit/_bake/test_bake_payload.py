# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.payload import (
    Payload,
    make_payload,
    required_collections,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.traps import write_modules

DIGEST = f"sha256:{'cd' * 32}"
MARKER = "immutable-payload-0123456789abcdef"


def payload_of(definition: Definition, folder: Path, **variables: int) -> Payload:
    ansible = folder / "lib"
    return make_payload(
        definition, digest=DIGEST, ansible=ansible, collections=None, variables=variables, marker=MARKER
    )


def unpacked(payload: Payload) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(payload.archive)) as archive:
        entries = archive.getmembers()
        assert {(entry.uid, entry.gid, entry.uname) for entry in entries if entry.uname} <= {(0, 0, "root")}
        return {entry.name: file.read() for entry in entries if (file := archive.extractfile(entry))}


@pytest.fixture
def unpacked_payload(define: Callable[..., Definition], tmp_path: Path) -> dict[str, bytes]:
    definition = define()
    (definition.folder / "files").mkdir()
    (definition.folder / "files" / "shop.conf").write_text("a file of the tree\n")
    (definition.folder / "notes.txt~").write_text("an editor's backup\n")
    (tmp_path / "lib" / "ansible").mkdir(parents=True)
    (tmp_path / "lib" / "ansible" / "release.py").write_text("")
    return unpacked(payload_of(definition, tmp_path, port=8080))


def test_the_payload_contains_the_tree_of_the_digest(unpacked_payload: dict[str, bytes]) -> None:
    assert {name for name in unpacked_payload if name.startswith("tree/")} == {
        "tree/provision.yml",
        "tree/files/shop.conf",
    }


def test_the_play_ends_with_the_seal(unpacked_payload: dict[str, bytes]) -> None:
    provision, seal = json.loads(unpacked_payload["site.json"])
    assert provision["ansible.builtin.import_playbook"] == "tree/provision.yml"
    variables = seal["tasks"][0]["vars"]
    assert variables["seal_digest"] == DIGEST
    assert variables["seal_data"] == [{"name": "uploads", "mount": "/var/lib/shop"}]
    own = "own/ansible_collections/immutable/infra"
    assert {
        f"{own}/plugins/modules/host_seal.py",
        f"{own}/plugins/module_utils/_residue.py",
        f"{own}/plugins/module_utils/_seal.py",
        f"{own}/roles/seal/tasks/main.yml",
    } <= set(unpacked_payload)


def test_the_seal_finds_all_that_it_imports(unpacked_payload: dict[str, bytes]) -> None:
    folder = "own/ansible_collections/immutable/infra/plugins/module_utils"
    code = {
        name: text.decode() for name, text in unpacked_payload.items() if re.match(r"own/.*/(host_seal|_\w+)\.py", name)
    }
    imported = {found for text in code.values() for found in re.findall(r"from \S*?\.(_\w+) import", text)}
    assert "_seal" in imported
    assert {f"{folder}/{name}.py" for name in imported} <= set(code)


def test_the_build_machine_is_in_every_group_of_the_playbook(unpacked_payload: dict[str, bytes]) -> None:
    inventory = json.loads(unpacked_payload["inventory.json"])["all"]
    assert set(inventory["children"]) == {"web", "prod", "db"}
    assert inventory["hosts"]["localhost"]["ansible_connection"] == "local"


def test_the_playbook_gets_the_facts_of_the_image(unpacked_payload: dict[str, bytes]) -> None:
    assert json.loads(unpacked_payload["vars.json"]) == {
        "port": 8080,
        "immutable_service": "shop",
        "immutable_version": "1.0.0",
        "immutable_digest": DIGEST,
    }


def test_the_marker_is_in_the_folders_name_and_in_the_program(
    define: Callable[..., Definition], tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    payload = payload_of(define(), tmp_path)
    assert payload.folder == f"/dev/shm/{MARKER}"
    assert MARKER.encode() in unpacked(payload)["run.py"]


@pytest.mark.parametrize("text", ["not: a list\n", "[unclosed\n", "- 5\n"])
def test_an_invalid_playbook_is_left_for_ansible_to_refuse(
    define: Callable[..., Definition], tmp_path: Path, text: str
) -> None:
    definition = define()
    (definition.folder / "provision.yml").write_text(text)
    (tmp_path / "lib").mkdir()
    files = unpacked(payload_of(definition, tmp_path))
    assert json.loads(files["inventory.json"])["all"]["children"] == {}


def test_installing_requirements_runs_no_code_of_the_definitions_folder(
    define: Callable[..., Definition], store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition, witness = define(requirements="requirements.yml"), tmp_path / "ran"
    write_modules(definition.folder, witness)
    # Its servers would be asked, and its callbacks and plugins would run.
    (definition.folder / "ansible.cfg").write_text(
        "[galaxy]\nserver_list = trap\n[galaxy_server.trap]\nurl = http://[\n"
    )
    (definition.folder / "local").mkdir()
    (definition.folder / "local/galaxy.yml").write_text(
        "{namespace: my, name: own, version: 1.0.0, readme: README.md, authors: [me], license: [MIT]}\n"
    )
    (definition.folder / "local/README.md").write_text("Mine\n")
    requirements = "collections: [{name: ./local, type: dir}]\n"
    (definition.folder / "requirements.yml").write_text(requirements)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    folder = required_collections(definition, store, lambda _line: None)
    assert folder is not None
    assert (folder / "ansible_collections/my/own/MANIFEST.json").exists()  # relative to the definition's folder
    assert not witness.exists()


BOMB = "- &a0 {x: 1}\n" + "".join(f"- &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9))


def test_a_playbook_that_stands_for_too_much_is_refused(define: Callable[..., Definition], tmp_path: Path) -> None:
    definition = define()
    (definition.folder / "provision.yml").write_text(BOMB)
    (tmp_path / "lib").mkdir()
    with pytest.raises(BakeError, match=r"^provision\.yml: line 5: it has more than 20000 values"):
        payload_of(definition, tmp_path)


@pytest.mark.parametrize("text", [BOMB, "a: [", "text", "- &a [*a]"])
def test_requirements_that_are_no_requirements_are_refused(
    define: Callable[..., Definition], store: FileStore, text: str
) -> None:
    definition = define(requirements="requirements.yml")
    (definition.folder / "requirements.yml").write_text(text)
    with pytest.raises(BakeError, match=r"^requirements\.yml (is not a mapping|cannot be read: .*line [1-5])"):
        required_collections(definition, store, lambda _line: None)


def test_only_the_seal_of_a_container_gets_its_variables(define: Callable[..., Definition], tmp_path: Path) -> None:
    definition = replace(define(), command=("/usr/bin/shop", "-v"), user="shop")
    (tmp_path / "lib").mkdir()
    found = {}
    for container in (False, True):
        payload = make_payload(
            definition,
            digest=DIGEST,
            ansible=tmp_path / "lib",
            collections=None,
            variables={},
            marker=MARKER,
            container=container,
        )
        variables = json.loads(unpacked(payload)["site.json"])[1]["tasks"][0]["vars"]
        names = ("seal_kind", "seal_command", "seal_user")
        found[container] = {name: variables[name] for name in names if name in variables}
    assert found == {
        False: {},
        True: {"seal_kind": "container", "seal_command": ["/usr/bin/shop", "-v"], "seal_user": "shop"},
    }
