# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds a user's own template with the real packer, with its file and null builders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.user_template import TemplateBake, TemplateJob
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store

SECRET = "correct-horse-battery"
TEMPLATE = {
    "variables": {"motto": "none", "token": ""},
    "builders": [
        {"type": "file", "name": "disk", "content": "{{user `motto`}}", "target": "{{template_dir}}/disk.img"}
    ],
}
BROKEN = {
    "builders": [{"type": "null", "communicator": "none"}],
    "provisioners": [{"type": "shell-local", "inline": ["exit 3"]}],
}
needs_packer = pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "disk.json").write_text(json.dumps(TEMPLATE))
    return tmp_path / "template"


def bake_of(folder: Path, store: Store, **options: Any) -> TemplateBake:
    defaults = {"vars": {"motto": "hello"}, "secrets": {"token": SECRET}}
    job = TemplateJob("router", "7", folder / "disk.json", **{**defaults, **options})
    return TemplateBake(job, store, packer=Packer(), guard=NoGuard(), report=silent)  # type: ignore[arg-type]


@needs_packer
def test_a_template_is_built_once_although_its_artifact_is_in_its_folder(folder: Path, store: FileStore) -> None:
    assert bake_of(folder, store).decide(False)[0].why == "it was never baked"
    image = bake_of(folder, store).run(None)
    [artifact] = image.artifact["artifacts"]
    assert artifact["files"][0]["path"] == str(folder / "disk.img")
    assert artifact["files"][0]["size"] == len("hello")
    decision, existing = bake_of(folder, store).decide(False)
    assert (decision.due, existing) == (False, Catalogue(store).list("router")[0])


@needs_packer
def test_a_build_is_due_if_an_input_changed_or_the_artifact_is_missing(folder: Path, store: FileStore) -> None:
    bake_of(folder, store).run(None)
    assert 'vars.motto: "hello" -> "bye"' in bake_of(folder, store, vars={"motto": "bye"}).decide(False)[0].why
    (folder / "script.sh").write_text("echo\n")
    assert "tree:script.sh: absent -> " in bake_of(folder, store).decide(False)[0].why
    (folder / "script.sh").unlink()
    assert not bake_of(folder, store).decide(False)[0].due
    (folder / "disk.img").unlink()
    assert "is missing" in bake_of(folder, store).decide(False)[0].why
    assert bake_of(folder, store).run(None).artifact["artifacts"]
    assert not bake_of(folder, store).decide(False)[0].due


@needs_packer
def test_the_value_of_a_secret_is_not_an_input_and_is_not_stored(folder: Path, store: FileStore) -> None:
    bake_of(folder, store).run(None)
    assert not bake_of(folder, store, secrets={"token": "another value"}).decide(False)[0].due
    assert bake_of(folder, store, secrets={}).decide(False)[0].due
    assert not [path for path in store.root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@needs_packer
def test_a_failure_contains_packers_error_and_the_log(folder: Path, store: FileStore) -> None:
    (folder / "disk.json").write_text(json.dumps(BROKEN))
    with pytest.raises(BakeError, match=r"exit status: 3.*complete log: ") as failure:
        bake_of(folder, store, vars={}, secrets={}).run(None)
    assert Path(failure.value.details["log"]).exists()
    assert Catalogue(store).list("router") == []


@needs_packer
def test_record_and_log_are_stored_in_a_bucket(folder: Path, bucket: S3Store) -> None:
    image = bake_of(folder, bucket).run(None)
    log = bucket.read_blob(f"{image.key}/packer.log")
    assert log is not None and b"disk" in log and SECRET.encode() not in log
    assert bake_of(folder, bucket).decide(False) == (
        bake_of(folder, bucket).decide(False)[0],
        Catalogue(bucket).list("router")[0],
    )
    assert not bake_of(folder, bucket).decide(False)[0].due
    assert bucket.list("logs/") == [] and list(bucket.local_path("logs").iterdir()) == []


def test_the_content_of_extra_inputs_counts_but_not_where_they_are(
    folder: Path, store: FileStore, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "shared").mkdir(parents=True)
        (tmp_path / name / "shared" / "script.sh").write_text("echo\n")
    digests = [bake_of(folder, store, extra=(tmp_path / name / "shared",)).digest for name in ("one", "two")]
    assert digests[0] == digests[1] != bake_of(folder, store).digest
    (tmp_path / "two" / "shared" / "script.sh").write_text("echo changed\n")
    assert bake_of(folder, store, extra=(tmp_path / "two" / "shared",)).digest != digests[0]


def test_a_missing_input_is_named(folder: Path, store: FileStore) -> None:
    with pytest.raises(BakeError, match="cannot read an input of .*missing.json: No such file"):
        bake_of(folder, store, var_files=(folder / "missing.json",))
    (folder / "disk.json").unlink()
    with pytest.raises(BakeError, match="the template .* does not exist"):
        bake_of(folder, store)
