# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that prepares a data volume, with files instead of devices."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/seal/files/seal/usr/lib/immutable/data"
SEARCH_PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
MIB = 1 << 20
CAP_SYS_RESOURCE = 24  # a bit of the kernel's set of capabilities

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool, path=SEARCH_PATH) for tool in ("mke2fs", "resize2fs", "blkid")), reason="needs e2fsprogs"
)


class Guest:
    def __init__(self, folder: Path) -> None:
        self.disk = folder / "uploads"
        self._script = folder / "data"
        self._path = f"{folder / 'bin'}:{SEARCH_PATH}"
        mount = folder / "var-lib-shop"
        mount.mkdir(mode=0o750)
        (folder / "fstab").write_text(f"{self.disk} {mount} ext4 rw 0 0\n")
        (folder / "bin").mkdir()
        blockdev = folder / "bin/blockdev"  # the real one supports only devices
        blockdev.write_text('#!/bin/sh\nexec stat -c %s "$2"\n')
        blockdev.chmod(0o755)
        self._script.write_text(
            SCRIPT.read_text()
            .replace("/dev/disk/immutable/", f"{folder}/")
            .replace("/etc/fstab", str(folder / "fstab"))
        )

    def run(self, *argv: object) -> str:
        return subprocess.run(
            [str(argument) for argument in argv], check=True, capture_output=True, text=True, env={"PATH": self._path}
        ).stdout

    def prepare(self) -> str:
        return self.run("sh", self._script, "uploads")

    def resize(self, size: int) -> None:
        with open(self.disk.resolve(), "ab") as disk:
            disk.truncate(size)

    def fact(self, name: str) -> str:
        lines = self.run("dumpe2fs", "-h", self.disk).splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def size(self) -> int:
        return int(self.fact("Block count")) * int(self.fact("Block size"))


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    guest = Guest(tmp_path)
    guest.resize(64 * MIB)
    guest.prepare()
    return guest


def test_a_new_volume_gets_a_file_system_that_belongs_to_the_service(guest: Guest) -> None:
    assert (guest.size(), guest.fact("Filesystem volume name")) == (64 * MIB, "uploads")
    assert "Mode:  0750" in guest.run("debugfs", "-R", "stat <2>", guest.disk)


def _loop_device(guest: Guest, file: Path) -> str:
    try:
        return guest.run("losetup", "--find", "--show", file).strip()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs root and loop devices: {error.stderr.strip()}")


@pytest.fixture
def device(guest: Guest, tmp_path: Path) -> Iterator[Path]:
    """Put the guest's disk behind a real device. Yields the file behind the device."""
    allowed = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())["CapEff"]
    if not int(allowed, 16) >> CAP_SYS_RESOURCE & 1:
        pytest.skip("the kernel grows a file system only for a caller with CAP_SYS_RESOURCE")
    file = guest.disk.rename(tmp_path / "disk.raw")
    device = _loop_device(guest, file)
    guest.disk.symlink_to(device)
    (tmp_path / "bin/blockdev").unlink()
    yield file
    guest.run("losetup", "--detach", device)


def test_the_file_system_of_a_larger_volume_grows_and_keeps_its_data(
    guest: Guest, device: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(os.urandom(3 * MIB))
    guest.run(*("debugfs", "-w", "-R", f"write {photo} photo", guest.disk))
    os.truncate(device, 256 * MIB)
    guest.run("losetup", "--set-capacity", guest.disk)
    guest.prepare()
    assert guest.size() == 256 * MIB
    assert str(guest.disk.resolve()) not in Path("/proc/mounts").read_text()
    guest.run("debugfs", "-R", f"dump photo {tmp_path / 'again'}", guest.disk)
    assert (tmp_path / "again").read_bytes() == photo.read_bytes()
    guest.run("e2fsck", "-f", "-n", guest.disk)
    assert "resiz" not in guest.prepare(), "the second run changes nothing"


@pytest.mark.parametrize("more", [0, 512, MIB], ids=["nothing", "a sector", "less than a block group"])
def test_a_volume_of_the_right_size_is_not_changed(guest: Guest, more: int) -> None:
    guest.resize(64 * MIB + more)
    checked = guest.fact("Last checked")
    guest.prepare()
    assert (guest.size(), guest.fact("Last checked")) == (64 * MIB, checked)


def test_a_damaged_file_system_is_reported_and_not_recreated(guest: Guest) -> None:
    damaged = bytearray(guest.disk.read_bytes())
    damaged[2048 : 4 * MIB] = bytes(4 * MIB - 2048)  # everything but the block of the label
    guest.disk.write_bytes(damaged)
    with pytest.raises(subprocess.CalledProcessError):
        guest.prepare()
    assert guest.fact("Filesystem volume name") == "uploads"
