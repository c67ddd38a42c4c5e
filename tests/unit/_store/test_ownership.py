# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store that other users could have written to is refused, in one message with the way out."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._store import ownership
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

STRANGER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A store in a folder that others can enter and read, with everything that decides."""
    store = FileStore(tmp_path / "store")
    store.root.chmod(0o755)
    store.secret_key()
    store.ssh_key("shop-local")
    for key in ("images/ab/qemu/record.json", "channels/shop/prod.json", "qemu/machines/f/i/machine.json"):
        store.write(key, {})
    for folder in [path for path in store.root.rglob("*") if path.is_dir()]:
        folder.chmod(0o755)
    return store.root


@pytest.fixture(autouse=True)
def shared_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_is_private_group", lambda _gid: False)


USES: dict[str, Callable[[FileStore], object]] = {
    "keys/secret": lambda store: store.secret_key(),
    "keys": lambda store: store.secret_key(),
    "keys/shop-local": lambda store: store.ssh_key("shop-local"),
    "keys/shop-local.pub": lambda store: store.ssh_key("shop-local"),
    "images/ab/qemu/record.json": lambda store: store.read("images/ab/qemu/record.json"),
    "images/ab": lambda store: store.read("images/ab/qemu/record.json"),
    "images": lambda store: store.list("images/"),
    "channels/shop": lambda store: store.write("channels/shop/prod.json", {"other": 1}),
    "channels/shop/prod.json": lambda store: store.read_blob("channels/shop/prod.json"),
    "qemu/machines/f/i/machine.json": lambda store: store.trusted_tree("qemu"),
    "qemu/machines/f": lambda store: store.trusted_tree("qemu"),
    "images/ab/qemu": lambda store: store.local_path("images/ab"),
}


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o620, 0o1777, 0o2770, 0o777])
def test_a_folder_that_others_can_write_is_refused_when_it_is_opened(tmp_path: Path, mode: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "store")
    place = tmp_path / "store"
    assert caught.value.message == (
        f"other users can write to {place} (mode {mode & 0o7777:04o}) and could plant keys and images in the store; "
        f"if you trust its content, run: chmod -R go-w {place}"
    )
    assert not list(place.iterdir())


@pytest.mark.parametrize("key", USES)
@pytest.mark.parametrize("bits", [0o002, 0o020])
def test_a_part_that_others_can_write_is_refused_when_it_is_used(open_folder: Path, key: str, bits: int) -> None:
    place = open_folder / key
    place.chmod(place.stat().st_mode | bits)
    with pytest.raises(StoreError, match=f"^other users can write to {place} "):
        USES[key](FileStore(open_folder))
    subprocess.run(["chmod", "-R", "go-w", open_folder], check=True)  # what the message says
    USES[key](FileStore(open_folder))


@needs_root
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("key", USES)
def test_a_part_of_another_user_is_refused_even_if_the_store_is_closed_by_now(
    open_folder: Path, key: str, closed: bool
) -> None:
    os.chown(open_folder / key, STRANGER, -1)
    open_folder.chmod(0o700 if closed else 0o755)
    with pytest.raises(StoreError, match=rf"^{open_folder / key} belongs to .* run: chown -hR .* S3\)$"):
        USES[key](FileStore(open_folder))


@needs_root
def test_a_store_and_a_link_of_another_user_are_refused(open_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"known to others " * 2)
    (open_folder / "keys/secret").unlink()
    (open_folder / "keys/secret").symlink_to(tmp_path / "key")
    assert FileStore(open_folder).secret_key() == b"known to others " * 2  # the user's own link
    os.chown(open_folder / "keys/secret", STRANGER, -1, follow_symlinks=False)
    with pytest.raises(StoreError, match="keys/secret belongs to"):
        FileStore(open_folder).secret_key()
    os.chown(open_folder, STRANGER, -1)
    with pytest.raises(StoreError, match=f"^{open_folder} belongs to"):
        FileStore(open_folder)


def test_permissions_in_a_closed_store_do_not_matter(open_folder: Path) -> None:
    subprocess.run(["chmod", "-R", "a+w", open_folder], check=True)
    open_folder.chmod(0o700)
    for use in USES.values():
        use(FileStore(open_folder))


def test_a_link_to_a_folder_of_the_user_is_a_store(open_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(open_folder)
    assert FileStore(tmp_path / "link").secret_key() == FileStore(open_folder).secret_key()
    open_folder.chmod(0o757)
    with pytest.raises(StoreError, match="other users can write to"):
        FileStore(tmp_path / "link")


def test_a_folder_is_checked_once(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Path] = []
    check = ownership.TrustedFolder._checked
    monkeypatch.setattr(
        ownership.TrustedFolder,
        "_checked",
        lambda self, path, closed: checked.append(path) or check(self, path, closed),
    )
    store = FileStore(open_folder)
    for _time in range(5):
        store.read("channels/shop/prod.json")
    folders = [path for path in checked if path.is_dir()]
    assert sorted(folders) == sorted({open_folder, open_folder / "channels", open_folder / "channels/shop"})


def test_the_private_group_of_the_user_may_write_unless_a_list_names_others(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    user, members = pwd.getpwuid(os.geteuid()), list[str]()
    group = SimpleNamespace(gr_name=user.pw_name, gr_mem=members)
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: group)
    os.chown(open_folder, -1, user.pw_gid)
    open_folder.chmod(0o775)
    FileStore(open_folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getxattr", lambda *_arguments: b"a list")
        with pytest.raises(StoreError, match="other users can write"):
            FileStore(open_folder)
    members.append("somebody")
    with pytest.raises(StoreError, match="other users can write"):
        FileStore(open_folder)


def test_a_store_stays_its_own_whatever_the_umask_is(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o755)
    before = os.umask(0)
    try:
        for use in range(2):
            store = FileStore(tmp_path / "store")
            store.write("images/ab/qemu/record.json", {"use": use})
            store.secret_key()
            store.ssh_key("shop-local")
            store.trusted_tree("images")
    finally:
        os.umask(before)
