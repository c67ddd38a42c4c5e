# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a build of a user's own template writes is never an input, and every input counts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.user_template import TemplateBake, TemplateJob
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

MANIFEST = {
    "builds": [{"name": "a", "packer_run_uuid": "0a1b", "files": None}],
    "last_run_uuid": "0a1b",
}
needs_packer = pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "template").mkdir()
    return template(tmp_path / "template")


def template(folder: Path, *commands: str, target: str = "made/disk.img", **parts: Any) -> Path:
    """Write a template that creates a file, and then runs the commands in its folder."""
    builder = {"type": "file", "content": "hello", "target": target}
    steps = [{"type": "shell-local", "inline": list(commands)}] if commands else []
    (folder / "disk.json").write_text(json.dumps({"builders": [builder], "post-processors": steps, **parts}))
    return folder


def bake_of(folder: Path, store: FileStore, service: str = "router", **options: Any) -> TemplateBake:
    job = TemplateJob(service, "7", folder / "disk.json", **options)
    return TemplateBake(job, store, packer=Packer(), guard=NoGuard(), report=silent)  # type: ignore[arg-type]


def due(folder: Path, store: FileStore, **options: Any) -> str:
    """Why a build is due, or an empty text."""
    decision, _image = bake_of(folder, store, **options).decide(False)
    return decision.why if decision.due else ""


def digest(folder: Path, store: FileStore, **options: Any) -> str:
    return bake_of(folder, store, **options).digest


@needs_packer
def test_a_manifest_beside_the_template_is_not_an_input(folder: Path, store: FileStore) -> None:
    template(folder, **{"post-processors": [{"type": "manifest", "output": "manifest.json"}]})
    bake_of(folder, store).run(None)
    assert (folder / "manifest.json").exists() and not due(folder, store)
    for written in ("manifest.json", "made/disk.img"):  # of a run without this collection
        shutil.copy(folder / written, folder / "kept")
        shutil.rmtree(store.root)
        store = FileStore(store.root)
        (folder / "kept").unlink()
        bake_of(folder, store).run(None)
        assert not due(folder, store)


@needs_packer
def test_a_file_that_a_script_of_the_build_writes_is_not_an_input_until_a_user_changes_it(
    folder: Path, store: FileStore
) -> None:
    template(folder, "mkdir -p logs && date +%N >> logs/all.log && ln -sf all.log logs/latest")
    bake_of(folder, store).run(None)
    assert not due(folder, store)
    bake_of(folder, store).run(None, force=True)
    assert not due(folder, store)
    (folder / "logs/all.log").write_text("important")
    assert "tree:logs/all.log: absent -> " in due(folder, store)


@needs_packer
def test_a_pipe_that_a_build_leaves_is_an_error_of_the_next_run_only(folder: Path, store: FileStore) -> None:
    template(folder, "mkfifo it && ln -s it link")
    assert bake_of(folder, store).run(None).artifact["artifacts"]
    with pytest.raises(BakeError, match="/it: is neither a file, a folder nor a link"):
        bake_of(folder, store)
    template(folder, "exit 3")
    (folder / "it").unlink()
    assert due(folder, store)
    template(folder, "mkfifo it; exit 3")
    with pytest.raises(BakeError, match="exit status: 3"):
        bake_of(folder, store).run(None)


@needs_packer
def test_a_failed_build_leaves_no_input(folder: Path, store: FileStore) -> None:
    template(folder, "date +%N > build.log; exit 3")
    before = digest(folder, store)
    with pytest.raises(BakeError, match="exit status: 3"):
        bake_of(folder, store).run(None)
    assert digest(folder, store) == before


@needs_packer
def test_a_file_that_changes_during_the_build_makes_the_next_build_due_once(folder: Path, store: FileStore) -> None:
    template(folder, "echo more >> setup.sh")
    (folder / "setup.sh").write_text("echo\n")
    bake_of(folder, store).run(None)
    assert "tree:setup.sh" in due(folder, store)
    bake_of(folder, store).run(None)
    assert not due(folder, store)


@needs_packer
def test_a_file_that_git_tracks_is_an_input_although_it_appeared_during_the_build(
    folder: Path, store: FileStore
) -> None:
    template(folder, "echo x > pulled.conf && git add pulled.conf")
    subprocess.run(["git", "init", "-q", folder], check=True)
    bake_of(folder, store).run(None)
    assert "tree:pulled.conf: absent -> " in due(folder, store)


@needs_packer
def test_what_templates_of_other_services_made_in_the_folder_is_not_an_input(folder: Path, store: FileStore) -> None:
    before = digest(folder, store, service="switch")
    bake_of(folder, store).run(None)
    assert digest(folder, store, service="switch") == before


def test_what_builds_write_is_not_an_input_and_everything_else_is(folder: Path, store: FileStore) -> None:
    before = digest(folder, store)
    (folder / "store/.gitkeep").parent.mkdir()
    (folder / "store/.gitkeep").touch()
    beside = FileStore(folder / "store")
    beside.secret_key()
    for name in ("packer_cache/a.lock", "sub/packer_cache/a.lock", "output-a/x", "crash.log", ".git/HEAD", "a.sh~"):
        write(folder / name, "x")
    write(folder / "sub/manifest.json", json.dumps(MANIFEST, indent=2))
    assert digest(folder, store) == digest(folder, beside) == before
    for name in ("sub/output-a/x", "sub/output-a.conf", "output-a.sh", "sub/crash.log", "builds.json"):
        write(folder / name, '{"builds": []}')
        assert name in bake_of(folder, store).inputs["tree"]
        assert digest(folder, store) != before
        before = digest(folder, store)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("place", [".", "scripts"])
def test_a_store_among_the_inputs_is_refused(folder: Path, place: str) -> None:
    write(folder / "scripts/setup.sh", "echo")
    with pytest.raises(StoreError, match=r"the store .* is among the inputs of the bake, .*: it must be a folder of"):
        bake_of(folder, FileStore(folder / place))


def test_inputs_with_the_same_last_name_all_count(folder: Path, store: FileStore, tmp_path: Path) -> None:
    names = ("one/conf", "two/conf", "other")
    for name in names:
        write(tmp_path / name / "x", name)
    extra = tuple(tmp_path / name for name in names)
    found = bake_of(folder, store, extra=extra, base=tmp_path).inputs["inputs"]
    assert sorted(found) == ["one/conf", "other", "two/conf"]
    for name in names:
        before = digest(folder, store, extra=extra, base=tmp_path)
        write(tmp_path / name / "x", "changed")
        assert digest(folder, store, extra=extra, base=tmp_path) != before


def test_a_manifest_that_the_user_names_is_an_input(folder: Path, store: FileStore, tmp_path: Path) -> None:
    manifest = tmp_path / "base.json"
    write(manifest, json.dumps(MANIFEST))
    before = digest(folder, store, extra=(manifest,))
    write(manifest, json.dumps({**MANIFEST, "last_run_uuid": "another"}))
    assert digest(folder, store, extra=(manifest,)) != before


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("place", ["template/sub/it", "more/it", "it"])
def test_a_pipe_or_socket_among_the_inputs_is_an_error(
    folder: Path, store: FileStore, tmp_path: Path, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("template/sub", "more"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir((tmp_path / place).parent)  # the path of a socket has a maximum length
    if kind == "pipe":
        os.mkfifo("it")
    else:
        socket.socket(socket.AF_UNIX).bind("it")
    extra = (tmp_path / "more", *([tmp_path / place] if place == "it" else []))
    with pytest.raises(BakeError, match=rf"/{place}: is neither a file, a folder nor a link, .*; move it elsewhere"):
        bake_of(folder, store, extra=extra)


def test_a_pipe_as_a_file_of_variables_is_an_error(folder: Path, store: FileStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vars.json")
    with pytest.raises(BakeError, match=r"vars\.json: it is a pipe, socket or device \(allowed: a regular file\)"):
        bake_of(folder, store, var_files=(tmp_path / "vars.json",))


def test_what_is_behind_a_link_is_an_input(folder: Path, store: FileStore, tmp_path: Path) -> None:
    write(tmp_path / "shared/sub/a.conf", "a")
    write(tmp_path / "other/disk.json", (folder / "disk.json").read_text())
    (tmp_path / "shared/back").symlink_to("../template")
    (tmp_path / "named").symlink_to(tmp_path / "shared/sub/a.conf")
    (folder / "outside").symlink_to("../shared")
    (folder / "absolute").symlink_to("/dev/null")
    (folder / "inside").symlink_to("disk.json")
    (folder / "missing").symlink_to("../missing")
    (tmp_path / "inner").symlink_to("template/disk.json")
    assert bake_of(folder, store, extra=(tmp_path / "inner",))._trees.extra["inner"] == {
        ".": {"link": "template/disk.json"}
    }
    tree = bake_of(folder, store).inputs["tree"]
    assert [name for name, entry in tree.items() if "content" in entry] == ["outside"]
    before = digest(folder, store, extra=(tmp_path / "named",)), digest(folder, store)
    write(tmp_path / "shared/sub/a.conf", "b")
    (folder / "outside").unlink()
    assert digest(folder, store, extra=(tmp_path / "named",)) != before[0]
    (folder / "outside").symlink_to("../shared")
    assert digest(folder, store) != before[1]
    (folder / "disk.json").unlink()
    (folder / "disk.json").symlink_to(tmp_path / "other/disk.json")
    changed = digest(folder, store)
    write(tmp_path / "other/disk.json", "{}")
    assert digest(folder, store) != changed


def test_links_in_a_circle_are_inputs_and_are_not_followed(folder: Path, store: FileStore, tmp_path: Path) -> None:
    for name, target in (("self", "self"), ("up", ".."), ("a", "b"), ("b", "a")):
        (folder / name).symlink_to(target)
    assert bake_of(folder, store).inputs["tree"]["up"] == {"link": ".."}
    with pytest.raises(BakeError, match="cannot read an input of .*: .*self: Too many levels of symbolic links"):
        bake_of(folder, store, extra=(folder / "self",))
