# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The list of files that a build machine makes, and what the controller accepts of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _listing
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.collected import CollectedFiles
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.listed import ListedFiles, NoListingError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import make_manifest

SUM = hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True, mode=0o755)
    (folder / "etc/greeting").write_bytes(b"hello")
    os.chmod(folder / "etc/greeting", 0o640)
    os.link(folder / "etc/greeting", folder / "again")
    (folder / "link").symlink_to("etc/greeting")
    os.mkfifo(folder / "pipe", 0o600)
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    return folder


def received(archive: bytes | None, folder: Path) -> ListedFiles:
    with tarfile.open(folder / "sent.tar.gz", "w:gz") as tree:
        entry = tarfile.TarInfo("listing.json.gz")
        entry.size = len(archive or b"")
        if archive is not None:
            tree.addfile(entry, io.BytesIO(archive))
    return ListedFiles(CollectedFiles(folder / "sent.tar.gz"))


def test_a_manifest_is_made_of_the_list(root: Path, tmp_path: Path) -> None:
    _listing.main(str(root), str(tmp_path / "list"))
    files = received((tmp_path / "list").read_bytes(), tmp_path)
    manifest = make_manifest(files, "sha256:ab", {}, {})
    ids = (os.getuid(), os.getgid())
    assert manifest.files["/etc/greeting"] == manifest.files["/again"] == ("file", "0640", *ids, 5, SUM)
    assert manifest.files["/link"][:1] + manifest.files["/link"][4:] == ("link", 12, "etc/greeting")
    assert manifest.files["/pipe"][:2] == ("fifo", "0600")
    assert manifest.files["/"][0] == manifest.files["/etc"][0] == "dir"
    assert "/caf\udce9" in manifest.files
    assert len(manifest.files) == 7


def test_extended_attributes_are_as_in_other_manifests(root: Path, tmp_path: Path) -> None:
    try:
        os.setxattr(root / "etc/greeting", "user.note", b"long" * 20)
    except OSError:
        pytest.skip("the file system of the tests has no extended attributes")
    _listing.main(str(root), str(tmp_path / "list"))
    manifest = make_manifest(received((tmp_path / "list").read_bytes(), tmp_path), "sha256:ab", {}, {})
    assert manifest.xattrs is not None
    assert manifest.xattrs["/etc/greeting"] == {"user.note": "sha256:" + hashlib.sha256(b"long" * 20).hexdigest()}


def test_a_file_that_vanishes_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def checksum(place: str) -> tuple[str, int]:
        raise FileNotFoundError(2, "gone", place)

    monkeypatch.setattr(_listing, "checksum", checksum)
    assert sorted(_listing.listing(str(root))["files"]) == ["/", "/etc", "/link", "/pipe"]


GOOD: dict[str, Any] = {"schema": 1, "files": {"/a": ["file", "0644", 0, 0, 5, SUM]}, "xattrs": {}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": {"/a": ["file", "0644", 0, 0, 5, "sum"]}},
        {"files": {"a": ["file", "0644", 0, 0, 5, SUM]}},
        {"files": {"/a": ["file", "rw", 0, 0, 5, SUM]}},
        {"files": {"/a": ["file", "0644", -1, 0, 5, SUM]}},
        {"files": {"/a": ["file", "0644", 0, 2**32, 5, SUM]}},
        {"files": {"/a": ["folder", "0644", 0, 0, 0, ""]}},
        {"files": {"/a": ["char", "0644", 0, 0, 0, "x"]}},
        {"files": {"/a": []}},
        {"files": []},
        {"xattrs": {"/a": {"user.x": "zz"}}},
        {"xattrs": {"/missing": {}}},
    ],
)
def test_a_wrong_list_is_one_clear_error(wrong: dict[str, Any], tmp_path: Path) -> None:
    received(gzip.compress(json.dumps(GOOD).encode()), tmp_path)
    with pytest.raises(ImageError, match="list of its files is damaged: "):
        received(gzip.compress(json.dumps({**GOOD, **wrong}).encode()), tmp_path)


@pytest.mark.parametrize("nothing", [None, b""])
def test_a_machine_that_made_no_list_says_so(nothing: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(NoListingError, match="could not list its files"):
        received(nothing, tmp_path)
