# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that prepares a data volume, with files instead of devices."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.data_volume import LIBRARY, MIB, SCRIPT, SEARCH_PATH, Guest

RESERVE = 64 * 1024  # bytes at the end of a volume that the file system leaves out
CAP_SYS_RESOURCE = 24  # a bit of the kernel's set of capabilities

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool, path=SEARCH_PATH) for tool in ("mke2fs", "resize2fs", "blkid")), reason="needs e2fsprogs"
)


def test_a_new_volume_gets_a_file_system_that_belongs_to_the_service(guest: Guest) -> None:
    assert (guest.size(), guest.fact("Filesystem volume name")) == (64 * MIB - RESERVE, "uploads")
    assert "Mode:  0750" in guest.run("debugfs", "-R", "stat <2>", guest.disk)


def test_a_mount_point_in_a_tmpfs_is_recreated_first(unused: Guest, tmp_path: Path) -> None:
    """It belongs to the service, like the file system."""
    unused.mount.rmdir()
    program = tmp_path / "bin/systemd-tmpfiles"
    program.write_text('#!/bin/sh\n[ "$1" = --create ] && mkdir -m 0700 "${2#--prefix=}"\n')
    program.chmod(0o755)
    unused.report("blank")
    unused.prepare()
    assert "0700" in unused.run("debugfs", "-R", "stat <2>", unused.disk)


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
    assert guest.size() == 256 * MIB - RESERVE
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
    assert (guest.size(), guest.fact("Last checked")) == (64 * MIB - RESERVE, checked)


def assert_new_and_empty(guest: Guest) -> None:
    """The guest's disk has a sound file system with nothing in it, not even the mark of its creation."""
    names = [line.split("/")[5] for line in guest.run("debugfs", "-R", "ls -p /", guest.disk).split() if line]
    assert sorted(names) == [".", ".."]
    guest.run("e2fsck", "-f", "-n", guest.disk)
    assert not any(guest.disk.read_bytes()[-RESERVE:])


def test_a_new_file_system_is_empty(guest: Guest) -> None:
    assert_new_and_empty(guest)


def _write(guest: Guest, offset: int, content: bytes) -> None:
    with open(guest.disk, "r+b") as disk:
        disk.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        disk.write(content)


def test_a_file_system_that_lost_its_magic_number_is_not_recreated(guest: Guest) -> None:
    _write(guest, 1080, bytes(2))
    assert "not blank" in guest.refuse()
    guest.report("new")
    assert "not known to be new" in guest.refuse()
    guest.report_nothing()
    assert "not known to be new" in guest.refuse()


def test_a_damaged_file_system_is_reported_and_not_recreated(guest: Guest) -> None:
    damaged = bytearray(guest.disk.read_bytes())
    damaged[2048 : 4 * MIB] = bytes(4 * MIB - 2048)  # everything but the block of the label
    guest.disk.write_bytes(damaged)
    assert "e2fsck" in guest.fail()
    assert guest.fact("Filesystem volume name") == "uploads"


def test_a_blank_volume_that_nobody_knows_to_be_new_is_not_formatted(unused: Guest) -> None:
    assert "not known to be new" in unused.refuse()


CONTENTS = {
    "LUKS": (0, b"LUKS\xba\xbe\0\x02" + bytes(504)),
    "damaged LUKS": (64, b"aes-xts-plain64"),
    "LVM": (512, b"LABELONE" + (1).to_bytes(8, "little") + bytes(8) + b"LVM2 001"),
    "RAID 1.0": (-8192, bytes.fromhex("fc4e2ba901000000")),
    "RAID 1.2": (4096, bytes.fromhex("fc4e2ba901000000")),
    "XFS": (0, b"XFSB" + bytes(508)),
    "XFS without its superblock": (16 * MIB, b"XFSB"),
    "Btrfs": (64 * 1024 + 64, b"_BHRfS_M"),
    "Btrfs without its superblock": (MIB, b"chunk tree"),
    "partition table": (0, bytes(446) + bytes.fromhex("0020210083 9a0800 00080000 00f80100") + bytes(48) + b"\x55\xaa"),
    "swap": (4086, b"SWAPSPACE2"),
    "random bytes": (0, bytes(range(1, 256)) * 8),
    "one byte": (33 * MIB + 7, b"\1"),
    "the last byte": (-1, b"\1"),
}


@pytest.mark.parametrize("state", ["blank", "new", ""])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_volume_with_any_content_is_not_formatted(unused: Guest, content: str, state: str) -> None:
    _write(unused, *CONTENTS[content])
    if state:
        unused.report(state)
    assert unused.refuse()


@pytest.mark.skipif(not shutil.which("mkfs.xfs", path=SEARCH_PATH), reason="needs xfsprogs")
@pytest.mark.parametrize("lost", [0, 4096])
def test_an_xfs_is_not_formatted(unused: Guest, lost: int) -> None:
    unused.resize(320 * MIB)
    unused.run("mkfs.xfs", "-q", unused.disk)
    _write(unused, 0, bytes(lost))
    unused.report("blank")
    assert unused.refuse()


def _begin(guest: Guest) -> None:
    """Leave the volume as an interrupted creation of its file system leaves it."""
    text = next(line for line in SCRIPT.read_text().splitlines() if line.startswith("begun=")).split('"')[1]
    _write(guest, -512, text.encode() + b"\n")


@pytest.mark.parametrize("state", ["blank", "new"])
def test_an_interrupted_creation_is_repeated(unused: Guest, state: str) -> None:
    _write(unused, MIB, b"journal")
    _begin(unused)
    unused.report(state)
    unused.prepare()
    assert_new_and_empty(unused)


def test_a_creation_that_another_provider_did_not_begin_is_not_repeated(unused: Guest) -> None:
    _write(unused, MIB, b"journal")
    _begin(unused)
    assert "not known to be new" in unused.refuse()


def test_a_creation_that_was_interrupted_at_its_end_is_completed(guest: Guest) -> None:
    guest.run("debugfs", "-w", "-R", "mkdir lost+found", guest.disk)
    _begin(guest)
    guest.report("new")
    guest.prepare()
    assert_new_and_empty(guest)


def test_a_file_at_the_end_of_an_older_file_system_is_never_taken_for_a_creation(unused: Guest) -> None:
    """Earlier releases used the whole volume, so a file can hold any text in the last sector."""
    unused.run("mke2fs", "-q", "-t", "ext4", unused.disk)
    _begin(unused)
    before = unused.disk.read_bytes()
    unused.report("new")
    unused.prepare()
    assert unused.disk.read_bytes()[-512:] == before[-512:]
    assert "lost+found" in unused.run("debugfs", "-R", "ls -p /", unused.disk)


def test_a_large_volume_is_read_where_file_systems_keep_their_structures() -> None:
    parts = runpy.run_path(str(LIBRARY / "blank"))["parts"]
    assert parts(1 << 30) == [(0, 1 << 30)]
    for size in ((1 << 30) + 512, 100 << 30, 64 << 40):
        read = parts(size)
        assert sum(end - start for start, end in read) <= 600 * MIB
        assert all(0 <= start < end <= size for start, end in read)
        assert max(end for _start, end in read) == size
        starts = {start for start, _end in read}
        if size <= 512 << 30:
            assert set(range(0, size, 128 * MIB)) <= starts
