# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image whose files changed since its bake is not used."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import DISK_CHECKSUM, MANIFEST_FILE, Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images import integrity
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.integrity import require_unchanged_disk
from ansible_collections.immutable.infra.plugins.plugin_utils._images.open import manifest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

CONTENT = b"the disk that was baked"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(CONTENT)
    return Image(
        digest=f"sha256:{'1' * 64}",
        build="qemu-x86_64",
        service="shop",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        artifact={"path": str(disk)},
        base={},
        inputs={},
        checksums={DISK_CHECKSUM: hashlib.sha256(CONTENT).hexdigest()},
    )


def disk_of(image: Image) -> Path:
    return Path(image.artifact["path"])


def test_a_disk_is_read_once(image: Image, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    require_unchanged_disk(image, store)
    monkeypatch.setattr(integrity, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))
    require_unchanged_disk(image, store)


def test_a_changed_disk_is_refused_at_its_first_use(image: Image, store: FileStore) -> None:
    disk_of(image).write_bytes(CONTENT + b" and more")
    with pytest.raises(ImageError, match=r"disk .*disk.qcow2 of shop-1-1+ changed since it was baked.*bake the image"):
        require_unchanged_disk(image, store)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_disk_that_changes_later_is_refused_although_size_and_time_stay(
    image: Image, store: FileStore, in_place: bool
) -> None:
    require_unchanged_disk(image, store)
    disk = disk_of(image)
    before = disk.stat()
    target = disk if in_place else disk.with_name("other")
    target.write_bytes(CONTENT.swapcase())
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    if not in_place:
        os.replace(target, disk)
    for _attempt in range(2):
        with pytest.raises(ImageError, match="changed since it was baked"):
            require_unchanged_disk(image, store)


def test_a_disk_that_was_only_touched_passes(image: Image, store: FileStore) -> None:
    reported: list[str] = []
    require_unchanged_disk(image, store, reported.append)
    os.utime(disk_of(image))
    require_unchanged_disk(image, store, reported.append)
    assert not reported


def test_a_disk_without_a_checksum_on_record_is_taken_once_and_reported(image: Image, store: FileStore) -> None:
    lines: list[str] = []
    old = replace(image, checksums={})
    require_unchanged_disk(old, store, lines.append)
    require_unchanged_disk(old, store, lines.append)
    assert len(lines) == 1 and "recorded no checksum; its disk is taken as it is (sha256:" in lines[0]
    disk_of(image).write_bytes(b"something else")
    with pytest.raises(ImageError, match="changed since it was baked"):
        require_unchanged_disk(old, store)


def test_what_was_seen_is_private_and_a_damaged_note_counts_as_none(image: Image, store: FileStore) -> None:
    require_unchanged_disk(image, store)
    [note] = store.local_path("cache/disks").iterdir()
    assert note.stat().st_mode & 0o077 == 0
    for text in ("{", "[]", '{"sha256": 1}', "[" * 100000):
        note.write_text(text, encoding="utf-8")
        require_unchanged_disk(image, store)
    disk_of(image).write_bytes(b"something else")
    note.write_text("[]", encoding="utf-8")
    with pytest.raises(ImageError, match="changed since it was baked"):
        require_unchanged_disk(image, store)


def test_an_image_without_a_disk_here_passes(image: Image, store: FileStore) -> None:
    reported: list[str] = []
    require_unchanged_disk(replace(image, artifact={"ami": "ami-1"}), store, reported.append)
    disk_of(image).unlink()
    require_unchanged_disk(image, store, reported.append)
    assert not reported


def test_a_changed_manifest_is_refused(image: Image, store: FileStore) -> None:
    key = f"{image.key}/{MANIFEST_FILE}"
    recorded = replace(image, checksums={MANIFEST_FILE: hashlib.sha256(b"manifest").hexdigest()})
    Catalogue(store).add(recorded)
    store.write_blob(key, b"manifest")
    for name, build in ((image.digest, image.build), (image.name, None)):
        assert manifest_of(store, name, build, "host") == b"manifest"
    store.write_blob(key, b"another manifest")
    for name, build in ((image.digest, image.build), (image.name, None)):
        with pytest.raises(ImageError, match="manifest.json.gz of shop-1-1+ changed since it was baked"):
            manifest_of(store, name, build, "host")
    Catalogue(store).add(image)
    assert manifest_of(store, image.digest, image.build, "host") == b"another manifest", "an earlier release's record"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("aws-123456789012-x86_64", "its bake could not read the snapshot, and the build machine could not list"),
        ("openstack-p-R-x86_64", "its bake could not read the image in Glance, and the build machine could not list"),
        ("qemu-x86_64", "the store .* has no manifest of image .*; bake the image again"),
    ],
)
def test_a_missing_manifest_says_why(image: Image, store: FileStore, build: str, said: str) -> None:
    Catalogue(store).add(replace(image, build=build))
    with pytest.raises(ImageError, match=said):
        manifest_of(store, image.digest, build, "host")


def test_a_record_without_checksums_is_written_as_before(image: Image) -> None:
    assert "checksums" not in replace(image, checksums={}).as_dict()
    assert Image.from_dict(image.as_dict()).checksums == image.checksums
