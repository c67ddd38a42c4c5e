# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that makes the root as large as its disk, with files instead of devices."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .test_fetching import load

MIB, GIB = 1 << 20, 1 << 30
MOUNTINFO = "22 1 {} / / {} shared:1 - {} /dev/root {}\n25 22 0:5 / /dev rw - devtmpfs udev rw\n"


@pytest.fixture(scope="module")
def grow() -> ModuleType:
    return load("grow")


def disk_of(folder: Path, size: int, partitions: dict[str, tuple[int, int]]) -> Path:
    """A folder like /sys, with a disk. ``partitions``: start and size in MiB by name."""
    disk = folder / "devices/nvme0n1"
    for place, sectors in ((disk, size), *((disk / name, length) for name, (_at, length) in partitions.items())):
        place.mkdir(parents=True)
        (place / "size").write_text(f"{sectors * MIB // 512}\n", encoding="utf-8")
    for number, (name, (start, _length)) in enumerate(partitions.items(), 1):
        (disk / name / "start").write_text(f"{start * MIB // 512}\n", encoding="utf-8")
        (disk / name / "partition").write_text(f"{number}\n", encoding="utf-8")
    numbers = folder / "dev/block"
    numbers.mkdir(parents=True)
    for minor, name in enumerate(["", *partitions]):
        (numbers / f"259:{minor}").symlink_to(disk / name)
    return folder


def root_of(grow: ModuleType, folder: Path, device: str = "259:1", kind: str = "ext4", options: str = "ro") -> Any:
    (folder / "mountinfo").write_text(MOUNTINFO.format(device, options, kind, options), encoding="utf-8")
    return grow.find_root(str(folder), str(folder / "mountinfo"))


def test_only_a_last_partition_on_a_larger_disk_grows(grow: ModuleType, tmp_path: Path) -> None:
    larger = disk_of(tmp_path / "larger", 4096, {"nvme0n1p1": (130, 1900), "nvme0n1p14": (1, 3)})
    root = root_of(grow, larger)
    assert (root.device, root.disk, root.number, root.read_only) == ("/dev/nvme0n1p1", "/dev/nvme0n1", 1, True)
    assert grow.free_after(root) == (4096 - 130 - 1900) * MIB
    assert root_of(grow, larger, options="rw").read_only is False
    same = disk_of(tmp_path / "same", 2031, {"nvme0n1p1": (130, 1900)})
    assert grow.free_after(root_of(grow, same)) < grow.MINIMUM
    behind = disk_of(tmp_path / "behind", 4096, {"nvme0n1p1": (1, 1900), "nvme0n1p2": (1901, 100)})
    assert grow.free_after(root_of(grow, behind)) == 0
    whole = root_of(grow, disk_of(tmp_path / "whole", 4096, {}), device="259:0", kind="xfs")
    assert (whole.device, whole.number, grow.free_after(whole), whole.size) == ("/dev/nvme0n1", 0, 0, 4096 * MIB)
    assert root_of(grow, larger, device="0:31", kind="overlay") is None


def test_the_programs_that_a_guest_has_are_used(grow: ModuleType, tmp_path: Path) -> None:
    root = root_of(grow, disk_of(tmp_path, 4096, {"nvme0n1p1": (1, 1900)}))
    assert grow.partition_commands(root, lambda _name: True) == [(["growpart", "/dev/nvme0n1", "1"], "")]
    (cut, given), (told, _nothing) = grow.partition_commands(root, lambda name: name != "growpart")
    assert (cut[0], cut[-2:], given, told) == (
        "sfdisk",
        ["1", "/dev/nvme0n1"],
        ", +\n",
        ["partx", "--update", "--nr", "1", "/dev/nvme0n1"],
    )
    assert grow.partition_commands(root, lambda _name: False) is None
    assert grow.filesystem_command(root, lambda _name: True) == ["resize2fs", "/dev/nvme0n1p1"]
    assert grow.filesystem_command(root._replace(type="xfs"), lambda _name: True) == ["xfs_growfs", "/"]
    assert grow.filesystem_command(root, lambda _name: False) is None


@pytest.mark.parametrize("options", [[], ["-O", "64bit"], ["-O", "^64bit", "-b", "1024"]])
def test_a_file_system_tells_its_size(grow: ModuleType, tmp_path: Path, options: list[str]) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(96 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", *options, str(disk), "64M"], check=True)
    with disk.open("rb") as file:
        head = file.read(grow.HEAD)
    assert grow.filesystem_size(head, "ext4") == 64 * MIB
    assert grow.filesystem_size(head, "xfs") == grow.filesystem_size(head, "btrfs") == 0


def test_xfs_tells_its_size(grow: ModuleType) -> None:
    """The start of the superblock that mkfs.xfs writes for 300 MiB: magic, size of a block, number of blocks."""
    head = bytes.fromhex("58465342 00001000 0000000000012c00").ljust(grow.HEAD, b"\0")
    assert grow.filesystem_size(head, "xfs") == 300 * MIB


@pytest.mark.skipif(shutil.which("sfdisk") is None, reason="needs sfdisk")
def test_sfdisk_makes_the_last_partition_as_large_as_a_disk_that_has_grown(grow: ModuleType, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
    table = "label: gpt\nstart=2048, size=2048\nstart=4096\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=table, text=True, check=True, capture_output=True)
    with disk.open("r+b") as file:
        file.truncate(256 * MIB)
    root = root_of(grow, disk_of(tmp_path / "sys", 256, {"nvme0n1p1": (1, 1), "nvme0n1p2": (2, 62)}), device="259:2")
    root = root._replace(disk=str(disk))
    argv, given = grow.partition_commands(root, lambda name: name != "growpart")[0]
    grow.run(argv, given)
    found = json.loads(subprocess.run(["sfdisk", "-J", str(disk)], capture_output=True, check=True).stdout)
    first, second = found["partitiontable"]["partitions"]
    assert (first["size"], second["start"]) == (2048, 4096)
    assert 250 * MIB < second["size"] * 512 < 254 * MIB
    with pytest.raises(OSError, match="sfdisk: "):
        grow.run(["sfdisk", str(tmp_path / "missing")])


def test_a_root_that_was_read_only_is_read_only_again_even_after_a_failure(
    grow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = root_of(grow, disk_of(tmp_path, 4096, {"nvme0n1p1": (1, 1900)}))
    ran: list[list[str]] = []

    def run(argv: list[str], _given: str = "") -> None:
        ran.append(argv)
        if argv[0] == "resize2fs":
            raise OSError("resize2fs: no space")

    monkeypatch.setattr(grow, "run", run)
    with pytest.raises(OSError, match="no space"):
        grow.grow_filesystem(root, lambda _name: True)
    assert [argv[:3] for argv in (ran[0], ran[-1])] == [["mount", "-o", "remount,rw"], ["mount", "-o", "remount,ro"]]
