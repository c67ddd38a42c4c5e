# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares folders with their manifests, and real read-only file systems if mounts are allowed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._attest import compare
from ansible_collections.immutable.infra.plugins.module_utils._manifest import attribute_text, entry_type
from ansible_collections.immutable.infra.plugins.module_utils._mounts import read_mounts

Manifest = dict[str, Any]


def manifest_of(root: Path) -> Manifest:
    """The manifest of a folder, made without the code under test."""
    files: dict[str, list[Any]] = {}
    for path in [root, *root.rglob("*")]:
        info = path.lstat()
        kind = entry_type(info.st_mode)
        content = (
            path.readlink().as_posix()
            if kind == "link"
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if kind == "file"
            else ""
        )
        size = info.st_size if kind in ("file", "link") else 0
        name = "/" + path.relative_to(root).as_posix() if path != root else "/"
        files[name] = [kind, f"{stat.S_IMODE(info.st_mode):04o}", info.st_uid, info.st_gid, size, content]
    return {
        "schema": 1,
        "files": files,
        "covers": ["/tmp"],
        "data": ["/var/lib/shop"],
        "writable": ["/var/cache/shop"],
        "xattrs": {},
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("etc", "usr/bin", "tmp", "var/lib/shop", "var/cache/shop"):
        (root / folder).mkdir(parents=True)
    (root / "etc/app.conf").write_text("port=8080\n")
    (root / "usr/bin/app").write_bytes(os.urandom(3 * 1024 * 1024))
    (root / "usr/bin/app").chmod(0o755)
    (root / "usr/bin/also").hardlink_to(root / "usr/bin/app")
    (root / "etc/alias").symlink_to("app.conf")
    (root / os.fsdecode(b"etc/odd \xff\nname")).write_text("odd")
    return root


def differences(manifest: Manifest, root: Path) -> set[tuple[str, str]]:
    """The differences, without those for the folder of the test, which is always writable."""
    found = compare(json.loads(json.dumps(manifest)), str(root)).differences
    return {(each.kind, each.path) for each in found if each.kind != "unexpected_writable"}


def test_an_unchanged_tree_has_no_differences(tree: Path) -> None:
    manifest = manifest_of(tree)
    assert differences(manifest, tree) == set()
    assert compare(manifest, str(tree)).checked == len(manifest["files"]) - 3  # declared folders are not read


def _same_size(root: Path) -> None:
    (root / "etc/app.conf").write_text("port=9090\n")


def _grow(root: Path) -> None:
    (root / "etc/app.conf").write_text("port=80800\n")


def _make_link(root: Path) -> None:
    (root / "etc/app.conf").unlink()
    (root / "etc/app.conf").symlink_to("/dev/null")


def _redirect(root: Path) -> None:
    (root / "etc/alias").unlink()
    (root / "etc/alias").symlink_to("/etc/shadow")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_same_size, {("changed", "/etc/app.conf")}),
        (_grow, {("changed", "/etc/app.conf")}),
        (lambda root: (root / "etc/app.conf").unlink(), {("missing", "/etc/app.conf")}),
        (lambda root: (root / "usr/bin/intruder").mkdir(), {("added", "/usr/bin/intruder")}),
        (lambda root: (root / "usr/bin/app").chmod(0o4755), {("mode", "/usr/bin/app"), ("mode", "/usr/bin/also")}),
        (_make_link, {("type", "/etc/app.conf")}),
        (_redirect, {("link", "/etc/alias")}),
        (lambda root: (root / "var/cache/shop/anything").write_text("x"), set()),
        (lambda root: (root / "var/lib/shop/uploads").mkdir(), set()),
    ],
)
def test_every_kind_of_change_is_found(
    tree: Path, change: Callable[[Path], object], expected: set[tuple[str, str]]
) -> None:
    manifest = manifest_of(tree)
    change(tree)
    assert differences(manifest, tree) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
def test_another_owner_is_found(tree: Path) -> None:
    manifest = manifest_of(tree)
    os.chown(tree / "etc/app.conf", 1234, 0)
    [found] = [each for each in compare(manifest, str(tree)).differences if each.kind == "owner"]
    assert found.as_dict() == {"kind": "owner", "path": "/etc/app.conf", "expected": "0:0", "found": "1234:0"}


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# An access control list as the kernel returns it.
ACL = "0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff"


def _set(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"cannot set {name} here: {error.strerror}")


def test_a_file_capability_is_found(tree: Path) -> None:
    manifest = manifest_of(tree)
    _set(tree / "usr/bin/app", "security.capability", CAPABILITY)
    found = [each.as_dict() for each in compare(manifest, str(tree)).differences if each.kind == "xattr"]
    assert found[1] == {
        "kind": "xattr",
        "path": "/usr/bin/app",
        "expected": "security.capability=none",
        "found": f"security.capability={CAPABILITY.hex()}",
    }
    assert found[0]["path"] == "/usr/bin/also"


def test_a_removed_or_changed_attribute_is_found(tree: Path) -> None:
    manifest = manifest_of(tree)
    manifest["xattrs"] = {"/etc/app.conf": {"user.note": b"old".hex(), "security.capability": CAPABILITY.hex()}}
    _set(tree / "etc/app.conf", "user.note", b"new")
    found = [(each.expected, each.found) for each in compare(manifest, str(tree)).differences if each.kind == "xattr"]
    assert found == [
        (f"security.capability={CAPABILITY.hex()}", "security.capability=none"),
        (f"user.note={b'old'.hex()}", f"user.note={b'new'.hex()}"),
    ]


def test_the_manifest_of_an_earlier_version_is_reported_as_not_compared(tree: Path) -> None:
    manifest = manifest_of(tree)
    del manifest["xattrs"]
    _set(tree / "etc/app.conf", "user.note", b"new")
    result = compare(manifest, str(tree))
    assert "xattr" not in {each.kind for each in result.differences}
    assert [(each.subject, each.path) for each in result.not_compared] == [("xattrs", "/")]


def test_a_label_that_the_kernel_makes_up_is_no_difference(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = manifest_of(tree)
    labels = {"security.selinux": b"system_u:object_r:unlabeled_t:s0\0"}
    monkeypatch.setattr(os, "listxattr", lambda *_args, **_kwargs: list(labels))
    monkeypatch.setattr(os, "getxattr", lambda _path, name, **_kwargs: labels[name])
    assert differences(manifest, tree) == set()
    manifest["xattrs"] = {"/etc/app.conf": {"security.selinux": b"system_u:object_r:etc_t:s0".hex()}}
    assert differences(manifest, tree) == {("xattr", "/etc/app.conf")}


def test_an_entry_of_an_access_control_list_has_no_id_unless_it_names_one() -> None:
    """Kernels return any id there, debugfs returns 0."""
    debugfs = "02000000010006000000000002000400e803000004000400000000001000040000000000200004000000000000"[:88]
    names = ("system.posix_acl_access", "system.posix_acl_default")
    assert {attribute_text(name, bytes.fromhex(value)) for name in names for value in (ACL, debugfs)} == {debugfs}


def test_a_writable_root_is_found_and_left_clean(tree: Path) -> None:
    manifest = manifest_of(tree)
    result = compare(manifest, str(tree))
    assert {each.path for each in result.differences} == {"/", "/etc", "/usr"}
    assert result.refused == []
    assert manifest_of(tree) == manifest


def test_a_name_that_is_not_utf8_can_be_returned(tree: Path) -> None:
    manifest = manifest_of(tree)
    (tree / os.fsdecode(b"etc/odd \xff\nname")).unlink()
    [found] = [each.as_dict() for each in compare(manifest, str(tree)).differences if each.kind == "missing"]
    assert json.dumps(found, ensure_ascii=False).encode()
    assert found["path"] == "/etc/odd \\xff\nname"


@pytest.mark.parametrize("manifest", [None, [], {}, {"schema": 2, "files": {}}, {"schema": 1, "files": []}])
def test_an_invalid_manifest_is_refused(tree: Path, manifest: Any) -> None:
    with pytest.raises(ValueError, match="schema 1"):
        compare(manifest, str(tree))


def test_the_mount_table_of_the_kernel_is_parsed(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 254:0 / / ro,relatime shared:1 - ext4 /dev/vda2 ro\n"
        "30 22 0:25 / /with\\040space rw,nosuid - tmpfs tmpfs rw,size=1024k\n"
        "31 22 254:16 / /data ro - ext4 /dev/vdb rw\n"
        "32 22 0:5 / /proc rw shared:5 master:1 - proc proc rw\n"
    )
    mounts = read_mounts("/", str(table))
    assert [(each.point, each.type, each.writable, each.of_kernel) for each in mounts] == [
        ("/", "ext4", False, False),
        ("/with space", "tmpfs", True, False),
        ("/data", "ext4", False, False),
        ("/proc", "proc", True, True),
    ]


def test_a_mount_that_another_one_hides_is_left_out(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 254:0 / / ro - ext4 /dev/vda2 ro\n"
        "30 22 0:25 / /mnt/deep rw - tmpfs below rw\n"
        "31 30 0:26 / /mnt/deep/er rw - tmpfs below rw\n"
        "32 22 0:27 / /mnt rw - tmpfs above rw\n"
        "33 32 0:28 / /mnt/deep rw - tmpfs on-top rw\n"
    )
    assert [(each.point, each.source) for each in read_mounts("/", str(table))] == [
        ("/", "/dev/vda2"),
        ("/mnt", "above"),
        ("/mnt/deep", "on-top"),
    ]
    assert [each.point for each in read_mounts("/mnt", str(table))] == ["/", "/deep"]


@pytest.mark.parametrize(
    ("options", "found"),
    [("rw,nodev,nosuid,noexec,relatime", None), ("rw,nosuid", "nosuid"), ("rw,relatime", "none of them")],
)
def test_a_mount_without_its_options_is_found(tree: Path, tmp_path: Path, options: str, found: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        f"22 1 254:0 / {tree} ro - ext4 /dev/vda2 ro\n30 22 254:16 / {tree}/var/lib/shop {options} - ext4 /dev/vdb rw\n"
    )
    manifest = manifest_of(tree)
    for expected in (None, {"/tmp": ["nosuid"], "/var/lib/shop": ["nosuid", "noexec"]}):
        if expected:
            manifest["options"] = expected
        differences = compare(manifest, str(tree), str(table)).differences
        assert [(each.path, each.expected, each.found) for each in differences if each.kind == "mount_options"] == (
            [("/var/lib/shop", "nosuid,noexec", found)] if expected and found else []
        )


# A separate program, because a mount namespace belongs to a process. It prepares a host, changes it and compares it.
MOUNTED = """
import json, subprocess, sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.module_utils._attest import compare

root, manifest, steps = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
subprocess.run(["mount", "--bind", root, root], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
for step in steps:
    subprocess.run(["mount", *(word.replace("ROOT", str(root)) for word in step)], check=True)
result = compare(manifest, str(root))
differences = sorted([difference.kind, difference.path] for difference in result.differences)
print(json.dumps({"differences": differences, "refused": result.refused}))
"""


@pytest.fixture
def mounted(tree: Path) -> Callable[..., dict[str, Any]]:
    if (
        subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
        ).returncode
        != 0
    ):
        pytest.skip("mounts are not allowed here")

    def run(*steps: list[str]) -> dict[str, Any]:
        arguments = [sys.executable, "-c", MOUNTED, str(tree), json.dumps(manifest_of(tree)), json.dumps(steps)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            ["unshare", "-m", *arguments], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_a_read_only_host_with_its_declared_mounts_has_no_differences(mounted: Callable[..., dict[str, Any]]) -> None:
    found = mounted(["-t", "tmpfs", "tmpfs", "ROOT/tmp"], ["-t", "tmpfs", "tmpfs", "ROOT/var/lib/shop"])
    assert found == {"differences": [], "refused": ["/", "/etc", "/usr"]}


def test_a_mount_over_the_image_is_found(mounted: Callable[..., dict[str, Any]]) -> None:
    found = mounted(["-t", "tmpfs", "tmpfs", "ROOT/usr/bin"])
    assert found["differences"] == [["covering", "/usr/bin"], ["unexpected_writable", "/usr/bin"]]


def test_a_bind_mount_of_the_same_file_system_is_found(mounted: Callable[..., dict[str, Any]]) -> None:
    found = mounted(["--bind", "ROOT/usr/bin/app", "ROOT/etc/app.conf"])
    assert [each for each in found["differences"] if each[0] == "covering"] == [["covering", "/etc/app.conf"]]


def test_a_root_that_was_remounted_writable_is_found(mounted: Callable[..., dict[str, Any]]) -> None:
    found = mounted(["-o", "remount,bind,rw", "ROOT"])
    assert ["unexpected_writable", "/"] in found["differences"]
    assert found["refused"] == []


DISK = """
import json, subprocess, sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.module_utils._attest import compare
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import inspect_image

disk, work = Path(sys.argv[1]), Path(sys.argv[2])
work.mkdir()
image = disk.with_suffix(".qcow2")
subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, image], check=True)
manifest = json.loads(json.dumps(inspect_image(image, work, "sha256:1", {}).manifest.as_dict()))
subprocess.run(["mount", "-o", "ro,loop,offset=1048576", disk, "/mnt"], check=True)
result = compare(manifest, "/mnt")
subprocess.run(["umount", "/mnt"], check=True)
differences = [difference.as_dict() for difference in result.differences]
print(json.dumps({"differences": differences, "checked": result.checked, "refused": result.refused}))
"""


def test_a_mounted_disk_has_no_differences_from_its_manifest(tree: Path, tmp_path: Path) -> None:
    """The manifest comes from the bytes of the disk, the comparison reads the mounted files. Both must agree."""
    os.mkfifo(tree / "etc/pipe")
    _set(tree / "etc/app.conf", "user.note", b"any")
    _set(tree / "usr/bin/app", "security.capability", CAPABILITY)
    _set(tree / "etc/app.conf", "system.posix_acl_access", bytes.fromhex(ACL))
    (tree / "usr/bin/app").chmod(0o4755)
    disk = tmp_path / "disk.img"
    programs = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if not all(
        shutil.which(program, path=programs) for program in ("mke2fs", "sfdisk", "debugfs", "qemu-img", "mount")
    ):
        pytest.skip("needs e2fsprogs, fdisk and qemu-utils")
    with disk.open("wb") as file:
        file.truncate(32 * 1024**2)
    subprocess.run(
        [shutil.which("sfdisk", path=programs) or "", "-q", disk], input="label: dos\n2048,,83\n", text=True, check=True
    )
    make = [
        shutil.which("mke2fs", path=programs) or "",
        "-q",
        "-t",
        "ext4",
        "-d",
        tree,
        "-E",
        "offset=1048576",
        disk,
        "30M",
    ]
    subprocess.run(make, check=True, capture_output=True)
    environment = {**os.environ, "PATH": programs, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = ["unshare", "-m", sys.executable, "-c", DISK, str(disk), str(tmp_path / "work")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0 and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip("mounts are not allowed here")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["differences"] == []
    assert result["refused"] == ["/", "/etc", "/usr"]
    assert result["checked"] == len(manifest_of(tree)["files"]) + 1  # lost+found


def test_a_mount_over_everything_is_found(mounted: Callable[..., dict[str, Any]]) -> None:
    found = mounted(["-t", "tmpfs", "tmpfs", "ROOT"])
    assert ["covering", "/"] in found["differences"]
