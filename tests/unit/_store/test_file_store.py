# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    ConflictError,
    LockedError,
    StoreError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import ABSENT
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import (
    folder_store,
    open_store,
    resolve_location,
)
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return open_store(tmp_path / "store")


def test_a_document_is_read_back_unchanged(store: FileStore) -> None:
    assert store.read("channels/shop/prod.json") is None
    tag = store.write("channels/shop/prod.json", {"name": "ä", "list": [1, None]})
    assert store.read("channels/shop/prod.json") == ({"name": "ä", "list": [1, None]}, tag)
    store.delete("channels/shop/prod.json")
    store.delete("channels/shop/prod.json")
    assert store.read("channels/shop/prod.json") is None


def test_a_new_store_is_marked_and_a_folder_in_use_is_not(tmp_path: Path) -> None:
    marker = open_store(tmp_path / "new").root / ".immutable-store"
    assert marker.exists()
    marker.unlink()  # a run that was interrupted before it wrote the marker
    assert (open_store(marker.parent).root / ".immutable-store").exists()
    for name in (".gitkeep", "images"):  # a folder of the user's own, or a store of an old release
        marker.unlink()
        (marker.parent / name).mkdir()
        assert (open_store(marker.parent).root / ".immutable-store").exists()
    (tmp_path / "roles/mine").mkdir(parents=True)
    assert not (open_store(tmp_path / "roles").root / ".immutable-store").exists()
    assert open_store(tmp_path / "new").list("") == []


def test_a_write_with_an_outdated_tag_changes_nothing(store: FileStore) -> None:
    first = store.write("a.json", 1, expect=ABSENT)
    with pytest.raises(ConflictError):
        store.write("a.json", 2, expect=ABSENT)
    second = store.write("a.json", 2, expect=first)
    with pytest.raises(ConflictError):
        store.write("a.json", 3, expect=first)
    assert store.read("a.json") == (2, second)
    store.delete("a.json")
    with pytest.raises(ConflictError):
        store.write("a.json", 4, expect=second)


def test_a_list_has_the_keys_with_a_prefix_and_no_leftovers_of_killed_writes(store: FileStore) -> None:
    for key in ("images/b/record.json", "images/a/record.json", "channels/shop/prod.json", "channels/shop2/prod.json"):
        store.write(key, {})
    (store.root / "images/a/.record.json.x7").write_text("half")
    assert store.list("images/") == ["images/a/record.json", "images/b/record.json"]
    assert store.list("channels/shop/") == ["channels/shop/prod.json"]
    assert store.list("channels/shop") == ["channels/shop/prod.json", "channels/shop2/prod.json"]
    assert store.list("absent/") == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "a b", "a\nb", ".", "a/./b", "ä"]
)
def test_a_key_cannot_leave_the_store(store: FileStore, key: str) -> None:
    with pytest.raises(StoreError, match="is not a valid store key"):
        store.write_blob(key, b"")


def test_only_its_user_can_read_a_store(store: FileStore) -> None:
    store.write_blob("records/deep/blob", b"x")
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path("records/deep/blob").stat().st_mode) == 0o600


def test_a_damaged_document_causes_an_error_that_names_it(store: FileStore) -> None:
    store.write_blob("a.json", b'{"half":')
    with pytest.raises(StoreError, match="a.json"):
        store.read("a.json")
    store.write_blob("b.json", b"\xff\xfe\xff")
    with pytest.raises(StoreError, match="b.json"):
        store.read("b.json")
    store.write_blob("c.json", b"[" * 100_000)
    with pytest.raises(StoreError, match="c.json is not JSON: it nests more than 100 levels"):
        store.read("c.json")


def test_an_error_of_the_system_keeps_its_words(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file.*(Not a directory|File exists)"):
        open_store(tmp_path / "file")
    store.write_blob("a", b"")
    with pytest.raises(StoreError, match="Not a directory|File exists"):
        store.write_blob("a/b", b"")
    assert store.read_blob("a/b") is None
    store.write_blob("folder/x", b"")
    with pytest.raises(StoreError, match="Is a directory"):
        store.read_blob("folder")


def test_a_full_disk_causes_an_error_and_leaves_the_document_unchanged(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = store.write("a.json", "before")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            store.write("a.json", "after")
    assert store.read("a.json") == ("before", tag)
    assert {path.name for path in store.root.iterdir() if path.is_file()} == {".immutable-store", "a.json"}


@pytest.mark.parametrize(
    "option, location",
    [
        ("store", "/play/store"),
        ("/var/store", "/var/store"),
        ("s3://bucket/a?region=eu-west-1", "s3://bucket/a?region=eu-west-1"),
    ],
)
def test_only_a_relative_path_is_resolved_against_the_folder(option: str, location: str) -> None:
    assert resolve_location(Path("/play"), option) == location


def test_a_store_that_is_not_in_a_folder_is_refused_with_the_reason(store: FileStore) -> None:
    assert folder_store(store, "it keeps disks in the store") is store
    with pytest.raises(
        StoreError, match=r"^it keeps disks in the store, so it needs a store in a folder \(this one is memory\)$"
    ):
        folder_store(MemoryStore(), "it keeps disks in the store")


@pytest.mark.parametrize("location", ["gs://bucket/prefix", "https://example.org/store"])
def test_an_unsupported_location_is_refused(location: str | Path) -> None:
    with pytest.raises(StoreError, match="folder"):
        open_store(location)


HOLD = """
import sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
with FileStore(Path(sys.argv[1])).lock("fleet-shop", "swap of shop"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(store: FileStore) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_lock_has_one_holder_and_the_message_names_it(store: FileStore) -> None:
    with holder(store) as process:
        with pytest.raises(LockedError) as caught, store.lock("fleet-shop", "another swap"):
            pass
        for word in ("fleet-shop", "swap of shop", str(process.pid), os.uname().nodename):
            assert word in caught.value.message
        with store.lock("fleet-other", "its own"):
            pass


def test_a_lock_is_released_when_its_holder_is_killed(store: FileStore) -> None:
    with holder(store) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with store.lock("fleet-shop", "the next run"):
            pass


def test_a_waiting_run_gets_the_lock_once_it_is_free(store: FileStore) -> None:
    with holder(store) as process:
        assert process.stdin is not None
        process.stdin.close()
        with store.lock("fleet-shop", "the next run", wait=10 * PATIENCE):
            pass


def test_a_lock_is_released_when_the_work_fails(store: FileStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lock("a", "b"):
        raise ZeroDivisionError
    with store.lock("a", "b"), pytest.raises(LockedError), store.lock("a", "c"):
        pass


def test_started_programs_do_not_inherit_a_lock(store: FileStore) -> None:
    with store.lock("a", "b"):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with store.lock("a", "c"):
            pass
    finally:
        child.communicate()


def test_keys_are_generated_once_and_only_their_user_can_read_them(store: FileStore) -> None:
    key = store.secret_key()
    assert len(key) == 32 and FileStore(store.root).secret_key() == key
    private, public = store.ssh_key("shop-local")
    assert public.startswith("ssh-ed25519 ") and "\n" not in public
    assert private.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert FileStore(store.root).ssh_key("shop-local") == (private, public)
    assert store.ssh_key("other-local")[1] != public
    assert all(
        stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        for path in (private, *store.root.rglob("secret*"))
        if path.is_file()
    )
