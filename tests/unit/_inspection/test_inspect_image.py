# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection import tools
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.disk import open_disk
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.filesystem import FileSystem
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import Inspection, inspect_image
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import (
    Manifest,
)

DELETED, KEPT = b"deleted-secret-5c1c8a0d", b"kept-secret-0a1b2c3d4e"  # see support/small_disk.py
DIGEST = "sha256:" + "ab" * 32


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def inspection(qcow2_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    pytest.importorskip("cyclonedx")
    work = tmp_path_factory.mktemp("work")
    (work / "inspect-of-a-killed-run").mkdir()
    (work / "inspect-of-a-killed-run" / "disk.raw").touch()
    found = inspect_image(
        qcow2_image,
        work,
        DIGEST,
        {"deleted": DELETED, "kept": KEPT + b"\n", "absent": b"is-nowhere-at-all", "pin": b"1234"},
    )
    assert not list(work.iterdir())  # neither this run's disk nor that of a killed run
    return found


def test_the_manifest_contains_what_only_root_could_create(inspection: Inspection) -> None:
    files = inspection.manifest.files
    assert files["/usr/bin/tool"] == ("file", "4755", 33, 70000, 10, sha(b"#!/bin/sh\n"))
    assert files["/usr/bin/same"] == files["/usr/bin/tool"]  # a hard link
    assert files["/etc/unreadable"][1] == "0000" and files["/etc/unreadable"][5] == sha(b"nobody reads me")
    assert files["/console"][0] == "char" and files["/console"][5] == "5:1"
    assert files["/pipe"][0] == "fifo"
    assert files["/big"][4:] == (2097152, sha(bytes(range(256)) * 8192))
    assert files["/sparse"][4:] == (3 * 1024**2 + 3, sha(bytes(3 * 1024**2) + b"end"))
    assert files["/"][:4] == ("dir", "0755", 0, 0)
    assert "/deleted" not in files


def test_the_manifest_contains_extended_attributes(inspection: Inspection) -> None:
    capability = {"security.capability": "0100000200200000000000000000000000000000"}
    assert inspection.manifest.xattrs == {
        "/usr/bin/tool": capability,
        "/usr/bin/same": capability,  # a hard link
        "/etc/shop.conf": {"user.note": b"two words".hex()},
        "/big": {"user.long": "sha256:" + sha(b"x" * 200)},
    }


def test_the_manifest_contains_what_mounts_must_not_allow(inspection: Inspection) -> None:
    assert inspection.manifest.options == {"/tmp": ("nodev", "nosuid"), "/data": ("nodev", "noexec", "nosuid")}


def test_a_manifest_without_extended_attributes_and_mount_options_keeps_its_bytes() -> None:
    """Version 0.2.0 wrote no such fields."""
    old = Manifest(DIGEST, {}, {})
    assert not {"xattrs", "options"} & set(old.as_dict())
    read = Manifest.from_gzip(old.to_gzip())
    assert read.xattrs is read.options is None
    none = replace(old, xattrs={})
    assert Manifest.from_gzip(none.to_gzip()).xattrs == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("/odd/with space", b"1"),
        ("/odd/new\nline", b"2"),
        ('/odd/quo"te', b"3"),
        ("/odd/dir with space/inner", b"4"),
        ("/odd/\udcff\udcfe", b"5"),
    ],
)
def test_files_with_odd_names_are_in_the_manifest(inspection: Inspection, name: str, content: bytes) -> None:
    assert inspection.manifest.files[name][4:] == (1, sha(content))


def test_links_are_in_the_manifest_with_their_targets(inspection: Inspection) -> None:
    assert inspection.manifest.files["/short"] == (
        "link",
        "0777",
        *inspection.manifest.files["/short"][2:4],
        6,
        '/x"y\nz',
    )
    assert inspection.manifest.files["/long"][4:] == (100, "q" * 100)


def test_the_manifest_covers_the_disk_outside_of_the_root_file_system(inspection: Inspection, raw_image: Path) -> None:
    data = raw_image.read_bytes()
    assert inspection.manifest.boot == {"0": sha(data[: 1024**2]), "1": sha(data[1024**2 : 2 * 1024**2])}


def test_declared_paths_come_from_the_seal(inspection: Inspection) -> None:
    manifest = inspection.manifest
    assert (manifest.covers, manifest.data, manifest.writable) == (("/run", "/tmp"), ("/data",), ("/tmp",))


def test_a_written_manifest_can_be_read(inspection: Inspection) -> None:
    assert Manifest.from_gzip(inspection.manifest.to_gzip()) == inspection.manifest


def test_a_secret_is_found_in_a_file_and_in_a_free_block_and_not_shown(inspection: Inspection) -> None:
    kept = [line for line in inspection.findings if line.startswith("kept: ")]
    deleted = [line for line in inspection.findings if line.startswith("deleted: ")]
    assert len(kept) == 1 and kept[0].endswith(", in /etc/shop.conf")
    assert len(deleted) == 1 and "in no file" in deleted[0]
    assert len(inspection.findings) == 2
    assert "secret" not in "".join(inspection.findings)
    assert inspection.not_searched == ("pin",)


def test_the_sbom_lists_installed_packages_and_distributions(inspection: Inspection) -> None:
    bom = json.loads(inspection.sbom)
    found = {component["purl"]: component for component in bom["components"]}
    assert set(found) == {"pkg:deb/debian/hello@2.10-3?arch=amd64&distro=debian-12", "pkg:pypi/six@1.16.0"}
    hello = found["pkg:deb/debian/hello@2.10-3?arch=amd64&distro=debian-12"]
    assert hello["supplier"]["name"].startswith("Santiago Vila")
    assert [choice["license"]["name"] for choice in hello["licenses"]] == ["GPL-3+", "MIT"]
    assert (bom["specVersion"], bom["metadata"]["component"]["name"], bom["metadata"]["component"]["version"]) == (
        "1.6",
        "shop",
        "1.4.2",
    )


def test_the_same_image_gives_the_same_sbom_and_manifest(
    inspection: Inspection, qcow2_image: Path, tmp_path: Path
) -> None:
    again = inspect_image(qcow2_image, tmp_path, DIGEST, {})
    assert again.manifest.to_gzip() == inspection.manifest.to_gzip()
    boms = [json.loads(each.sbom) for each in (again, inspection)]
    for bom in boms:
        del bom["metadata"]["timestamp"]
    assert boms[0] == boms[1]


def test_the_path_of_the_store_may_contain_a_question_mark(qcow2_image: Path, tmp_path: Path) -> None:
    work = tmp_path / "what? a store"
    work.mkdir()
    assert "/big" in inspect_image(qcow2_image, work, DIGEST, {}).manifest.files


@pytest.mark.parametrize("content", [b"not a disk at all" * 1000, b""])
def test_a_disk_without_partitions_is_refused(tmp_path: Path, content: bytes, qcow2_image: Path) -> None:
    with pytest.raises(ImageError, match="sfdisk failed"):
        inspect_image(_as_qcow2(tmp_path, content), tmp_path, DIGEST, {})


def test_a_file_that_is_not_qcow2_is_refused(tmp_path: Path, raw_image: Path) -> None:
    with pytest.raises(ImageError, match="is not a qcow2 disk"):
        inspect_image(raw_image, tmp_path, DIGEST, {})


def test_an_image_that_names_a_backing_file_is_refused(tmp_path: Path, qcow2_image: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(qcow2_image), str(overlay)]
    subprocess.run(create, check=True)
    with pytest.raises(ImageError, match="overlay.qcow2 names a backing file"):
        inspect_image(overlay, tmp_path, DIGEST, {})


def _as_qcow2(folder: Path, content: bytes | bytearray) -> Path:
    (folder / "raw").write_bytes(content)
    image = folder / "image"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(folder / "raw"), str(image)]
    subprocess.run(convert, check=True)
    return image


def test_a_missing_folder_or_image_is_reported(tmp_path: Path, qcow2_image: Path) -> None:
    with pytest.raises(ImageError, match="cannot inspect the image: .*No such file"):
        inspect_image(qcow2_image, tmp_path / "absent", DIGEST, {})
    with pytest.raises(ImageError, match="cannot inspect the image: .*absent: No such file"):
        inspect_image(tmp_path / "absent", tmp_path, DIGEST, {})


def test_a_disk_without_ext4_is_refused(tmp_path: Path, raw_image: Path) -> None:
    data = bytearray(raw_image.read_bytes())
    data[2 * 1024**2 :] = bytes(len(data) - 2 * 1024**2)
    with pytest.raises(ImageError, match="none of the image's 2 partitions has a file system that can be inspected"):
        inspect_image(_as_qcow2(tmp_path, data), tmp_path, DIGEST, {})


def test_a_damaged_file_system_is_refused(tmp_path: Path, raw_image: Path) -> None:
    data = bytearray(raw_image.read_bytes())
    data[2 * 1024**2 + 4096 : 3 * 1024**2] = b"\xff" * (1024**2 - 4096)
    with pytest.raises(ImageError, match="debugfs"):
        inspect_image(_as_qcow2(tmp_path, data), tmp_path, DIGEST, {})


@pytest.mark.parametrize("path", ["/big", "/sparse", "/etc/unreadable"])
@pytest.mark.parametrize("more", [-1, 1, 10**7])
def test_contents_of_another_length_are_refused(raw_image: Path, path: str, more: int) -> None:
    """This happens if debugfs cannot read a block."""
    files = FileSystem(raw_image, open_disk(raw_image).root.start)
    files.entries[path] = replace(files.entries[path], size=files.entries[path].size + more)
    with pytest.raises(ImageError, match="debugfs (could not read every file|stopped in the middle)"):
        files.checksums()


def test_the_message_for_a_missing_program_contains_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_EXTRA_FOLDERS", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ImageError, match="qemu-img is not installed .*apt install qemu-utils"):
        tools.program("qemu-img")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f\x8b", b"text", gzip.compress(b"[]"), gzip.compress(b'{"schema": 2}')],
    ids=["empty", "only the magic number", "plain text", "a list", "another schema"],  # compressed data holds the time
)
def test_a_damaged_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="bake the image again"):
        Manifest.from_gzip(data)
