# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A template with a fixed output bakes its next version, and the images before it keep their files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import earlier_artifacts
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.user_template import TemplateBake, TemplateJob
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store

pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "template").mkdir()
    return template(tmp_path / "template")


def template(folder: Path, target: str = "dist/disk.img", *commands: str, name: str = "disk.json") -> Path:
    """Write a template whose artifact has the variable ``note`` as its content."""
    builder = {"type": "file", "content": "{{user `note`}}", "target": target}
    steps = [{"type": "shell-local", "inline": list(commands)}] if commands else []
    document = {"variables": {"note": ""}, "builders": [builder], "post-processors": steps}
    (folder / name).write_text(json.dumps(document))
    return folder


def bake_of(folder: Path, store: Store, note: str, **options: Any) -> TemplateBake:
    given = {"service": "router", "name": "disk.json", **options}
    job = TemplateJob(given["service"], note, folder / given["name"], {"note": note})
    return TemplateBake(job, store, packer=Packer(), guard=NoGuard(), report=silent)  # type: ignore[arg-type]


def file_of(image: Image, store: Store) -> Path:
    """The one file that the present record of an image names, with the checksum that it names."""
    record = Catalogue(store).get(image.digest, image.build)
    assert record
    [artifact] = record.artifact["artifacts"]
    [file] = artifact["files"]
    path = Path(file["path"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
    return path


def check_nothing_is_due(folder: Path, store: Store, *notes: str) -> None:
    for note in notes:
        assert not bake_of(folder, store, note).decide(False)[0].due


def test_each_version_keeps_its_file_although_the_template_writes_to_one_place(folder: Path, store: FileStore) -> None:
    images = [bake_of(folder, store, note).run(None) for note in ("1", "2", "3")]
    assert [file_of(image, store).read_text() for image in images] == ["1", "2", "3"]
    assert file_of(images[2], store) == folder / "dist/disk.img"
    assert [path.name for path in (folder / "dist").iterdir()] == ["disk.img"]
    check_nothing_is_due(folder, store, "1", "2", "3")


def test_a_forced_build_replaces_its_own_image_only(folder: Path, store: FileStore) -> None:
    first, second = (bake_of(folder, store, note).run(None) for note in ("1", "2"))
    for note in ("2", "1"):
        bake_of(folder, store, note).run(None, force=True)
        assert file_of(first, store).read_text() == "1" and file_of(second, store).read_text() == "2"
    held = [path for path in (store.root / "artifacts").rglob("*") if path.is_file()]
    assert held == [file_of(second, store)]
    check_nothing_is_due(folder, store, "1", "2")


def test_files_whose_place_is_free_after_the_build_are_where_they_were(folder: Path, store: FileStore) -> None:
    template(folder, "dist-{{user `note`}}/disk.img", "date +%N > dist-{{user `note`}}/log")
    images = [bake_of(folder, store, note).run(None) for note in ("1", "2", "3")]
    for number, image in enumerate(images, 1):
        assert file_of(image, store) == folder / f"dist-{number}/disk.img"
        assert (folder / f"dist-{number}/log").exists()
    assert not list((store.root / "artifacts").iterdir())
    check_nothing_is_due(folder, store, "1", "2", "3")


def test_a_folder_with_what_else_a_build_wrote_is_moved_as_a_whole(folder: Path, store: FileStore) -> None:
    template(folder, "dist/disk.img", "date +%N > dist/log && ln -s log dist/latest && mkdir -p dist/sub")
    first = bake_of(folder, store, "1").run(None)
    bake_of(folder, store, "2").run(None)
    assert file_of(first, store).read_text() == "1"
    check_nothing_is_due(folder, store, "1", "2")


def test_a_failed_build_leaves_everything_in_its_place(folder: Path, store: FileStore) -> None:
    first = bake_of(folder, store, "1").run(None)
    template(folder, "other/disk.img", "exit 3")
    with pytest.raises(BakeError, match="exit status: 3"):
        bake_of(folder, store, "2").run(None)
    assert file_of(first, store) == folder / "dist/disk.img"


def test_two_templates_that_write_to_one_place_keep_their_files(folder: Path, store: FileStore) -> None:
    template(folder, name="other.json")
    first = bake_of(folder, store, "1").run(None)
    other = bake_of(folder, store, "2", service="switch", name="other.json").run(None)
    assert file_of(first, store).read_text() == "1" and file_of(other, store).read_text() == "2"


def test_files_of_a_template_that_is_being_built_are_not_moved_back(folder: Path, store: FileStore) -> None:
    template(folder, "other/disk.img", name="other.json")
    first = bake_of(folder, store, "1").run(None)
    with bake_of(folder, store, "5")._earlier_artifacts.building():
        bake_of(folder, store, "2", service="switch", name="other.json").run(None)
    assert file_of(first, store).is_relative_to(store.root)


def test_with_a_store_in_a_bucket_the_files_stay_beside_the_template(folder: Path, bucket: S3Store) -> None:
    first, second = (bake_of(folder, bucket, note).run(None) for note in ("1", "2"))
    assert file_of(first, bucket).is_relative_to(folder / ".immutable-kept")
    assert file_of(second, bucket) == folder / "dist/disk.img"
    check_nothing_is_due(folder, bucket, "1", "2")


@pytest.mark.parametrize("step", range(8))
def test_a_run_that_is_killed_at_any_step_leaves_records_of_files_that_exist(
    folder: Path, store: FileStore, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(folder, "dist-{{user `note`}}/disk.img")
    first = bake_of(folder, store, "1").run(None)
    left = iter(range(step))

    def last(change: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return change(*arguments, **options)

        return changed

    monkeypatch.setattr(earlier_artifacts, "_linked", last(earlier_artifacts._linked))
    monkeypatch.setattr(Catalogue, "add", last(Catalogue.add))
    monkeypatch.setattr(Path, "unlink", last(Path.unlink))
    try:
        bake_of(folder, store, "2").run(None)
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    assert file_of(first, store).read_text() == "1"


def test_files_on_another_file_system_are_copied(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(earlier_artifacts.os, "link", refused)
    first, second = (bake_of(folder, store, note).run(None) for note in ("1", "2"))
    assert file_of(first, store).read_text() == "1" and file_of(second, store).read_text() == "2"


def test_force_does_not_let_packer_replace_what_another_image_needs_at_a_provider(
    folder: Path, store: FileStore
) -> None:
    first = bake_of(folder, store, "1").run(None)
    second = bake_of(folder, store, "2")
    assert second._may_force(True, None) and not second._may_force(False, None)
    ami = {"artifacts": [{"id": "eu-west-1:ami-1", "files": []}]}
    Catalogue(store).add(Image.from_dict({**first.as_dict(), "artifact": ami}))
    second = bake_of(folder, store, "2")
    assert not second._may_force(True, None) and second._may_force(True, first)
