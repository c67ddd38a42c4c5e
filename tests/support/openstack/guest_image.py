# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a story on real guests needs from outside the cloud's network: a base image, and ansible-core for the guest.

Both are kept in a folder, because they take minutes. ``python -m ...guest_image FOLDER`` prepares it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.guest_ansible import guest_ansible
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

from ..guests import run

ROOT = Path(__file__).parents[3]
FILES = ROOT / "tests/openstack/guest"
ROLE = ROOT / "roles/base_image"
FOLDER = "IMMUTABLE_OPENSTACK_GUEST"  # the environment variable that names the prepared folder
PYTHON, ARCHITECTURE = "3.11", "x86_64"
USER = "debian"
# The size is smaller than that of the flavor's disk, so the root grows at each launch, which needs fdisk.
SIZE = "3G"
PACKAGES = ("fdisk", "sudo")


def prepare(folder: Path) -> None:
    """Build what is missing in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = base_disk(folder)
    for old in folder.glob("base-*.qcow2"):
        if old != disk:
            old.unlink()
    if not disk.exists():
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as work:
            _build(Path(work), disk)
    guest_ansible(open_store(folder / "store"), python=PYTHON, architecture=ARCHITECTURE)


def base_disk(folder: Path) -> Path:
    """The path of the base. Its name changes with what it is made from."""
    parts = [Path(__file__), *_files(FILES), *_files(ROLE)]
    recipe = b"\0".join(path.read_bytes() for path in parts)
    return folder / f"base-{hashlib.sha256(recipe).hexdigest()[:12]}.qcow2"


def copy_ansible(folder: Path, store: Path) -> None:
    """Give ansible-core for the guest to a store, which could not download it in the cloud's network."""
    open_store(store)
    shutil.copytree(folder / "store/cache", store / "cache")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _build(work: Path, disk: Path) -> None:
    """Build a small Debian that a cloud can launch, as the images of a distribution."""
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    packages = [*variables["base_image_needed"], *PACKAGES]
    initramfs = "etc/initramfs-tools"
    shutil.copytree(ROLE / "files/base" / initramfs, work / "kernel" / initramfs)
    chroot = [
        f"useradd -m -s /bin/bash {USER}",
        "systemctl -q enable first-boot.service",
        f"systemctl -q mask {shlex.join(variables['base_image_masked'])}",
        "rm -f /etc/ssh/ssh_host_*; : > /etc/machine-id",
        "apt-get clean",
    ]
    hooks = [
        f"sync-in {shlex.quote(str(FILES))} /",
        *(f'chroot "$1" sh -ec {shlex.quote(line)}' for line in chroot),
    ]
    argv = [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join(packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        f"--essential-hook=sync-in {shlex.quote(str(work / 'kernel'))} /",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]
    run([*argv, "bookworm", work / "root.tar"])
    run([ROLE / "files/assemble", work / "root.tar", work / "disk.qcow2", SIZE, work / "work"])
    os.replace(work / "disk.qcow2", disk)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).absolute())
