# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.image_archive import (
    ImageConfig,
    read_exported,
    write_image_archive,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import inspect_archive
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.layer import LayerFiles

CONFIG = ImageConfig(["/sbin/init"], "SIGRTMIN+3", environment=["PATH=/usr/bin"], labels={"immutable.service": "shop"})
CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\xff\xfe\x00\x00\x00\x00\x00\x00"  # is no UTF-8
DIGEST = "sha256:" + "ab" * 32
KINDS = {
    "dir": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "same": tarfile.LNKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "char": tarfile.CHRTYPE,
}


def entry(name: str, kind: str, content: str, **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = KINDS.get(kind, tarfile.REGTYPE)
    data = content.encode() if kind == "file" else b""
    info.size, info.linkname, info.mode = len(data), "" if data else content, 0o644
    info.uname = "somebody"
    for field, value in more.items():
        setattr(info, field, value)
    return info, data


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Write the tarball of a root file system: each entry is a name, a kind and a content."""

    def write(*entries: tuple[tarfile.TarInfo, bytes]) -> Path:
        path = tmp_path / "export.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for info, data in entries:
                tar.addfile(info, io.BytesIO(data))
        return path

    return write


def layer_of(archive: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        layer = tar.extractfile(manifest["Layers"][0])
        with tarfile.open(fileobj=layer) as files:
            return {member.name: member for member in files}


def test_the_archive_is_an_oci_layout_and_a_docker_archive(export: Callable[..., Path], tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    image = write_image_archive(export(entry("etc/shop", "file", "x")), archive, CONFIG)
    with tarfile.open(archive) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for name, content in contents.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    docker = json.loads(contents["manifest.json"])[0]
    oci = json.loads(contents[f"blobs/sha256/{json.loads(contents['index.json'])['manifests'][0]['digest'][7:]}"])
    config = contents[docker["Config"]]
    assert image == oci["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert docker["Layers"] == [f"blobs/sha256/{oci['layers'][0]['digest'][7:]}"]
    assert oci["layers"][0]["size"] == len(contents[docker["Layers"][0]])
    parsed = json.loads(config)
    assert parsed["rootfs"]["diff_ids"] == [oci["layers"][0]["digest"]]
    assert parsed["config"]["Cmd"] == ["/sbin/init"] and parsed["config"]["StopSignal"] == "SIGRTMIN+3"
    assert "User" not in parsed["config"]


def test_the_same_files_give_the_same_image(export: Callable[..., Path], tmp_path: Path) -> None:
    one = write_image_archive(export(entry("./a", "file", "x", uname="me")), tmp_path / "1", CONFIG)
    assert one == write_image_archive(export(entry("a", "file", "x", uname="you")), tmp_path / "2", CONFIG)
    assert one != write_image_archive(export(entry("a", "file", "y")), tmp_path / "3", CONFIG)


def test_nothing_of_the_engine_is_in_the_image(export: Callable[..., Path], tmp_path: Path) -> None:
    entries = [
        entry(".dockerenv", "file", "x"),
        entry("dev", "dir", ""),
        entry("dev/shm", "dir", ""),
        entry("dev/console", "char", ""),
        entry("etc/hosts", "file", "10.0.2.100 buildmachine"),
        entry("etc/resolv.conf", "file", "nameserver 10.0.2.3"),
        entry("run/.containerenv", "file", "x"),
        entry("srv/tmp/kept", "file", "x"),
    ]
    write_image_archive(export(*entries), tmp_path / "image.tar", CONFIG)
    files = layer_of(tmp_path / "image.tar")
    assert sorted(files) == ["dev", "etc/hosts", "etc/resolv.conf", "proc", "run", "srv/tmp/kept", "sys", "tmp"]
    assert files["tmp"].mode == 0o1777 and files["etc/resolv.conf"].size == 0
    assert b"buildmachine" not in (tmp_path / "image.tar").read_bytes()


def test_owners_modes_links_and_attributes_are_kept(export: Callable[..., Path], tmp_path: Path) -> None:
    attributes = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
    write_image_archive(
        export(
            entry("usr/bin/ping", "file", "ping", mode=0o4755, uid=7, gid=70000, pax_headers=attributes),
            entry("usr/bin/ping6", "same", "usr/bin/ping"),
            entry("usr/bin/p", "link", "ping"),
            entry("pipe", "pipe", ""),
        ),
        tmp_path / "image.tar",
        CONFIG,
    )
    files = LayerFiles(tmp_path / "image.tar")
    ping = files.entries["/usr/bin/ping"]
    assert (ping.mode, ping.uid, ping.gid, ping.size) == (0o4755, 7, 70000, 4)
    assert files.entries["/usr/bin/ping6"].inode == ping.inode
    assert (files.entries["/usr/bin/p"].type, files.entries["/usr/bin/p"].target) == ("link", "ping")
    assert files.entries["/pipe"].type == "fifo" and files.entries["/"].type == "dir"
    assert files.attributes() == {ping.inode: {"security.capability": CAPABILITY.hex()}}
    assert files.checksums()[ping.inode] == hashlib.sha256(b"ping").hexdigest()
    assert files.read(["/usr/bin/ping6", "/missing", "/pipe"]) == {"/usr/bin/ping6": b"ping"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry("../etc/passwd", "file", "x"), "leads out of it"),
        (entry("a/../../b", "file", "x"), "leads out of it"),
        (entry("opt/disk", "char", ""), "a device file outside of /dev: /opt/disk"),
        (entry("srv/.wh.page", "file", "x"), "a name that begins with .wh."),
        (entry("srv/same", "same", "../../etc/shadow"), "leads out of it"),
    ],
)
def test_what_no_image_may_have_is_refused(
    export: Callable[..., Path], tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], message: str
) -> None:
    with pytest.raises(BakeError, match=message):
        write_image_archive(export(bad), tmp_path / "image.tar", CONFIG)


def test_a_file_of_an_export_can_be_read(export: Callable[..., Path]) -> None:
    path = export(entry("./usr/lib/facts", "file", "{}"), entry("large", "file", "x" * 2 * 1024**2))
    assert read_exported(path, "/usr/lib/facts") == b"{}"
    assert read_exported(path, "/missing") is None
    with pytest.raises(BakeError, match="2097152 bytes"):
        read_exported(path, "/large")


def test_residue_is_found_in_files_and_in_the_configuration(export: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    archive = tmp_path / "image.tar"
    config = ImageConfig(["/bin/shop"], "SIGTERM", environment=["TOKEN=secret-of-the-config"])
    write_image_archive(
        export(
            entry("etc/shop.conf", "file", "password: secret-of-the-shop"),
            entry("root/.ssh/authorized_keys", "file", "ssh-ed25519 AAAA"),
            entry("usr/bin/python3.11", "file", "#!"),
        ),
        archive,
        config,
    )
    needles = {"the password": b"secret-of-the-shop", "the token": b"secret-of-the-config", "absent": b"is-not-there"}
    inspection, _files = inspect_archive(archive, DIGEST, needles)
    findings = " / ".join(inspection.findings)
    assert "SSH authorized keys: /root/.ssh/authorized_keys" in findings
    assert "in /etc/shop.conf" in findings and "the token: byte" in findings and "in no file" in findings
    assert "absent" not in findings and "secret-of" not in findings
    assert inspection.manifest.files["/etc/shop.conf"][:5] == ("file", "0644", 0, 0, 28)
    assert inspection.manifest.boot == {}


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(ImageError, match="cannot be read"):
        LayerFiles(path)
