# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small real disk: a boot record, a partition without a file system, and an ext4 file system with files of root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MIB = 1024 * 1024
BOOT_START, BOOT_SIZE, ROOT_START, ROOT_SIZE = 1 * MIB, 1 * MIB, 2 * MIB, 24 * MIB
DELETED = b"deleted-secret-5c1c8a0d"
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw, effective and permitted
KEPT = b"kept-secret-0a1b2c3d4e"

os.environ["PATH"] += os.pathsep + "/usr/sbin"

STATUS = """\
Package: hello
Status: install ok installed
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: amd64
Source: hello-src (2.10)
Version: 2.10-3
Description: example
 Version: 9 is not this one

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""

SEAL_FACTS = (
    b'{"service": "shop", "version": "1.4.2", "covers": ["/run", "/tmp"], "data": ["/data"], "writable": ["/tmp"]}'
)
METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\nLicense: MIT\n\nText\n"


def tree(folder: Path) -> None:
    files = {
        "etc/machine-id": b"",
        "etc/fstab": b"# /data\n/dev/vda2 / ext4 ro 0 0\ntmpfs /tmp tmpfs rw,nosuid,nodev,size=1m 0 0\n"
        b"/dev/disk/immutable/data /data ext4 rw,noexec,nosuid,nodev 0 0\nnas:/x /mnt nfs nosuid 0 0\n",
        "etc/shop.conf": b"password=" + KEPT + b"\n",
        "etc/unreadable": b"nobody reads me",
        "usr/bin/tool": b"#!/bin/sh\n",
        "usr/bin/python3.11": b"",
        "usr/lib/os-release": b'ID=debian\nVERSION_ID="12"\n',
        "usr/lib/immutable/seal.json": SEAL_FACTS,
        "usr/share/doc/hello/copyright": b"Format: https://example.org/dep5\nLicense: GPL-3+\n text\nLicense: MIT\n",
        "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA": METADATA,
        "var/lib/dpkg/status": STATUS.encode(),
        "odd/with space": b"1",
        "odd/new\nline": b"2",
        'odd/quo"te': b"3",
        "odd/dir with space/inner": b"4",
        "big": bytes(range(256)) * 8192,
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Path(os.fsdecode(os.fsencode(folder) + b"/odd/\xff\xfe")).write_bytes(b"5")
    (folder / "odd/empty").mkdir()
    (folder / "short").symlink_to('/x"y\nz')
    (folder / "long").symlink_to("q" * 100)
    os.link(folder / "usr/bin/tool", folder / "usr/bin/same")
    with (folder / "sparse").open("wb") as file:
        file.seek(3 * MIB)
        file.write(b"end")
    (folder / "deleted").write_bytes(b"x" * 5000 + DELETED + b"x" * 5000)


def debugfs(raw: Path, *commands: str) -> None:
    script = raw.with_suffix(".commands")
    script.write_text("".join(f"{command}\n" for command in commands))
    subprocess.run(["debugfs", "-w", "-f", str(script), f"{raw}?offset={ROOT_START}"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def raw_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in ("mke2fs", "debugfs", "sfdisk", "qemu-img") if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("disk")
    tree(folder / "tree")
    raw = folder / "image.raw"
    with raw.open("wb") as file:
        file.truncate(ROOT_START + ROOT_SIZE)
        file.seek(BOOT_START)
        file.write(b"boot loader" * 1000)
    table = (
        f"label: dos\nstart={BOOT_START // 512}, size={BOOT_SIZE // 512}, type=c\n"
        f"start={ROOT_START // 512}, size={ROOT_SIZE // 512}, type=83\n"
    )
    subprocess.run(["sfdisk", "-q", str(raw)], input=table, text=True, check=True, capture_output=True)
    options = f"offset={ROOT_START},root_owner=0:0"
    make = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-d",
        str(folder / "tree"),
        "-E",
        options,
        str(raw),
        f"{ROOT_SIZE // 1024}k",
    ]
    subprocess.run(make, check=True, capture_output=True)
    changes = [
        "sif /usr/bin/tool mode 0104755",
        "sif /usr/bin/tool uid 33",
        "sif /usr/bin/tool gid 70000",
        "sif /etc/unreadable mode 0100000",
        "mknod console c 5 1",
        "mknod pipe p",
        "rm /deleted",
        f"ea_set -f {folder}/capability /usr/bin/tool security.capability",
        'ea_set /etc/shop.conf user.note "two words"',
        f"ea_set /big user.long {'x' * 200}",
    ]
    (folder / "capability").write_bytes(CAPABILITY)
    debugfs(raw, *changes)
    return raw


@pytest.fixture(scope="session")
def qcow2_image(raw_image: Path) -> Path:
    path = raw_image.with_name("image.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw_image), str(path)], check=True)
    return path
