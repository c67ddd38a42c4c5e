# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""definition_info in a real ansible-playbook: the digest, why it is missing, and the differences from an image."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.registry import resolve_base
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
ROOT = Path(load.__file__).parents[6]  # as imported: a symbolic link in the path stays one
DISK = b"a disk"
TEXT = f"""\
schema: 1
service: shop
version: "1"
image:
  base: {{url: "https://example.com/disk.qcow2", checksum: "sha256:{hashlib.sha256(DISK).hexdigest()}", python: "3.11"}}
  provision: {{playbook: provision.yml, vars: {{port: 80}}}}
health: {{tcp: {{port: 80}}}}
targets: {{local: {{provider: simulated}}, bare: {{provider: simulated, base: {{debian: bookworm}}}}}}
"""

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="needs ansible-playbook")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/provision.yml").write_text("[]\n")
    (tmp_path / "shop/immutable.yml").write_text(TEXT)
    return tmp_path


def info(folder: Path, **options: object) -> dict:
    task = {"immutable.infra.definition_info": {"definition": "shop", **options}}
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    }
    run = subprocess.run(
        [str(PLAYBOOK), "-i", "localhost,", str(folder / "play.json")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "=> {" in run.stdout, run.stdout + run.stderr
    return json.loads(run.stdout[run.stdout.index("=> {") + 3 :])


def test_without_a_store_the_definition_is_checked_and_has_no_digest(folder):
    result = info(folder)
    assert (result["changed"], result["digest"], result["inputs"]) == (False, None, None)
    assert result["digest_missing"] == "the base is one of its inputs and is found in the store: set 'store'"
    assert result["definition"]["targets"] == ["bare", "local"]
    assert result["payload"] == {"files": ["provision.yml"], "left_out": [], "refused": []}


def test_a_missing_store_is_reported_and_not_created(folder):
    result = info(folder, store="store")
    assert (result["digest"], (folder / "store").exists()) == (None, False)
    assert result["digest_missing"] == "the base is one of its inputs, and there is no store store yet"
    assert info(folder, store="store", compare_with="abcdef")["msg"].startswith(
        "cannot compare with abcdef: the digest is not known yet, because "
    )


def test_a_base_that_is_not_built_is_reported(folder):
    open_store(folder / "store")
    result = info(folder, store="store", target="bare")
    assert result["digest"] is None
    assert result["digest_missing"].startswith(
        "the base (debian bookworm) is one of its inputs and is not built yet in "
    )


def test_differences_from_an_image_are_named(folder):
    store, definition = open_store(folder / "store"), load.load_definition(folder / "shop")
    inputs = bake_inputs(
        definition, definition.target("local"), resolve_base(definition.target("local"), store, definition.folder)
    )
    digest = digest_of(inputs)
    Catalogue(store).add(
        Image(
            digest=digest,
            build="simulated",
            service="shop",
            version="1",
            created="2026-01-01T00:00:00+00:00",
            artifact={},
            base=inputs["base"],
            inputs=inputs,
        )
    )
    assert info(folder, store="store", compare_with=digest[7:15])["explain"] == []
    (folder / "shop/immutable.yml").write_text(TEXT.replace("port: 80}", "port: 81}", 1))
    result = info(folder, store="store", compare_with=digest[7:15])
    assert (result["compared_with"], result["explain"]) == (digest, ["image.vars.port: 80 -> 81"])
    assert result["digest"] not in (None, digest)


def test_mistakes_fail_the_task_with_their_lines(folder):
    (folder / "shop/immutable.yml").write_text(TEXT.replace('version: "1"', "version: 1.10"))
    result = info(folder)
    line = 'immutable.yml:3: version: 1.10 is read as the number 1.1; put it in quotes: "1.10"'
    assert (result["msg"], result["problems"]) == (line, [line])
