# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders import base_disk
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.disks import BACKING_FILE, DATA_FILE, create_disk

DISK = b"a bootable disk"
SHA256 = hashlib.sha256(DISK).hexdigest()


def test_a_debian_base_that_is_not_built_yet_is_none(store: FileStore, tmp_path: Path) -> None:
    assert base_disk.resolve_disk(Base("debian", "bookworm"), store, tmp_path) is None


def test_a_debian_base_contains_only_what_identifies_it(debian: FileStore, tmp_path: Path) -> None:
    found = base_disk.resolve_disk(Base("debian", "bookworm"), debian, tmp_path)
    assert found == {
        "kind": "debian",
        "source": "bookworm",
        "sha256": "ab" * 32,
        "architecture": "x86_64",
        "python": "3.11",
    }
    assert base_disk.disk_path(Base("debian", "bookworm"), debian, tmp_path).name == "disk.qcow2"


def test_a_qcow2_is_read_again_only_when_it_changed(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Base("qcow2", "base.qcow2", python="3.12")
    (tmp_path / "base.qcow2").write_bytes(DISK)
    first = base_disk.resolve_disk(base, store, tmp_path)
    assert first is not None
    assert first["sha256"] == SHA256
    monkeypatch.setattr(base_disk, "file_sha256", lambda path: pytest.fail("read again"))
    assert base_disk.resolve_disk(base, store, tmp_path) == first
    monkeypatch.undo()
    (tmp_path / "base.qcow2").write_bytes(DISK + b" changed")
    assert base_disk.resolve_disk(base, store, tmp_path) != first


def test_a_qcow2_with_another_checksum_is_refused(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "base.qcow2").write_bytes(DISK)
    with pytest.raises(BakeError, match=f"has the checksum sha256:{SHA256}, but the definition says sha256:00"):
        base_disk.resolve_disk(Base("qcow2", "base.qcow2", checksum=f"sha256:{'00' * 32}"), store, tmp_path)
    with pytest.raises(BakeError, match="cannot read the base .*missing.qcow2: No such file"):
        base_disk.resolve_disk(Base("qcow2", "missing.qcow2"), store, tmp_path)


def test_a_url_is_resolved_without_the_network_and_downloaded_once(store: FileStore, tmp_path: Path) -> None:
    source = tmp_path / "remote.qcow2"
    base = Base("url", source.as_uri(), checksum=f"sha256:{SHA256}", python="3.11")
    found = base_disk.resolve_disk(base, store, tmp_path)
    assert found is not None
    assert found["sha256"] == SHA256
    source.write_bytes(DISK)
    path = base_disk.fetch_disk(base, store, tmp_path)
    source.unlink()
    assert base_disk.fetch_disk(base, store, tmp_path).read_bytes() == DISK
    assert path == base_disk.disk_path(base, store, tmp_path)


def test_a_download_with_another_checksum_leaves_nothing_behind(store: FileStore, tmp_path: Path) -> None:
    source = tmp_path / "remote.qcow2"
    source.write_bytes(b"something else")
    base = Base("url", source.as_uri(), checksum=f"sha256:{SHA256}")
    with pytest.raises(BakeError, match="but the definition says"):
        base_disk.fetch_disk(base, store, tmp_path)
    assert list(base_disk.disk_path(base, store, tmp_path).parent.iterdir()) == []
    with pytest.raises(BakeError, match="ftp is not supported"):
        base_disk.fetch_disk(Base("url", "ftp://example.com/disk", checksum=f"sha256:{SHA256}"), store, tmp_path)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
@pytest.mark.parametrize(
    ("form", "options", "why"),
    [
        ("qcow2", BACKING_FILE, "names a backing file"),
        ("qcow2", DATA_FILE, "names a data file"),
        ("raw", (), "is not a qcow2 disk"),
        ("vmdk", (), "is not a qcow2 disk"),
    ],
)
@pytest.mark.parametrize("kind", ["qcow2", "url"])
def test_a_disk_that_names_another_file_is_not_opened_whatever_its_checksum(
    store: FileStore, tmp_path: Path, kind: str, form: str, options: tuple[str, ...], why: str
) -> None:
    disk = tmp_path / "base.qcow2"
    create_disk(disk, options, form)
    checksum = f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}"
    base = Base(kind, "base.qcow2" if kind == "qcow2" else disk.as_uri(), checksum=checksum, python="3.11")
    assert base_disk.resolve_disk(base, store, tmp_path) is not None
    with pytest.raises(BakeError, match=why):
        base_disk.open_base(base, store, tmp_path)
