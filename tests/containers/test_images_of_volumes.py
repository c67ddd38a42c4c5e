# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes of the type ``image``: real file systems in loop mounts, as root."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import loop_image, volume_folder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.data_files import DataFiles
from ansible_collections.immutable.infra.tests.support.container_volumes import (
    FLEET,
    MIB,
    Bench,
    artifact,
    request,
)
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.path.exists("/dev/loop-control"), reason="loop mounts need root and loop devices"
    ),
]
ID = f"{FLEET}/0-uploads"
OWNER = "1001:1002"
MESSAGE = "what a customer left here"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    try:
        yield bench
    finally:
        for place in ("restricted", "mounted"):
            for folder in tmp_path.glob(f"volumes/*/*/{place}"):
                loop_image.unmount(folder)


def attached(bench: Bench, name: str, owner: str = OWNER, reown: bool = False) -> Path:
    """Attach the volume to a new instance, and return the folder that its container mounts."""
    bench.add(name, image=artifact(owner, reown), created=True)
    bench.volumes.attach([ID], name)
    [mount] = bench.volumes.mounts(FLEET, name)
    return mount.source


def released(bench: Bench, name: str) -> None:
    bench.instances[name].live = False
    bench.volumes.detach([ID])


def with_data(bench: Bench, kind: str) -> None:
    """Create a volume with the files that are easily lost in a copy."""
    bench.volumes.create([request(kind=kind)])
    data = attached(bench, "first")
    (data / "words").write_text(MESSAGE)
    os.link(data / "words", data / "linked")
    os.symlink("/nowhere", data / "symbolic")
    os.mkfifo(data / "pipe", 0o620)
    os.setxattr(data / "words", "user.note", b"kept")
    os.chown(data / "words", 1001, 1002)
    os.chmod(data / "words", 0o6640)
    os.utime(data / "words", (1, 2))
    released(bench, "first")


def require_data(data: Path) -> None:
    words = data / "words"
    found = words.stat()
    assert words.read_text() == MESSAGE and words.samefile(data / "linked")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777, found.st_mtime) == (1001, 1002, 0o6640, 2)
    assert os.readlink(data / "symbolic") == "/nowhere" and (data / "pipe").is_fifo()
    assert os.getxattr(words, "user.note") == b"kept"
    assert sorted(path.name for path in data.iterdir()) == ["linked", "pipe", "symbolic", "words"]
    assert (data.stat().st_uid, data.stat().st_mode & 0o7777) == (1001, 0o750)


def test_an_image_bounds_the_size_and_grows(bench: Bench) -> None:
    bench.volumes.create([request(size=8 * MIB, kind="image")])
    data = attached(bench, "first")
    with pytest.raises(OSError) as full, open(data / "big", "wb") as file:
        for _piece in range(9):
            file.write(b"x" * MIB)
            file.flush()
    assert full.value.errno == errno.ENOSPC
    assert (bench.folder() / "disk.img").stat().st_blocks * 512 >= 8 * MIB, "its space is reserved"
    released(bench, "first")
    assert loop_image.device(bench.folder() / "mounted") is None
    bench.volumes.modify([ID], 64 * MIB, "")
    data = attached(bench, "second")
    with open(data / "big", "wb") as file:
        file.write(b"x" * 40 * MIB)
        os.fsync(file.fileno())
    assert bench.volumes.list(FLEET)[0].size == 64 * MIB
    assert (bench.folder() / "disk.img").stat().st_size == 64 * MIB
    assert bench.volumes.warnings(FLEET) == []


def test_data_survives_every_change_of_the_type(bench: Bench) -> None:
    with_data(bench, "folder")
    for number, kind in enumerate(["image", "image", "folder", "image"]):
        bench.volumes.modify([ID], 16 * MIB, kind)
        assert bench.volumes.list(FLEET)[0].kind == kind
        require_data(attached(bench, f"next-{number}"))
        released(bench, f"next-{number}")
        kept = {"image": {"disk.img", "mounted", "volume.json"}, "folder": {"data", "mounted", "volume.json"}}[kind]
        assert {path.name for path in bench.folder().iterdir()} <= kept


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("kind", ["folder", "image"])
def test_the_next_run_completes_an_interrupted_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, number: int
) -> None:
    with_data(bench, kind)
    other = "image" if kind == "folder" else "folder"
    left = number

    def cutting(step: Callable[..., Any], counts: Callable[..., bool] = lambda *_arguments: True) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= counts(*arguments)
            if left < 0:
                raise ControllerKilled
            return step(*arguments, **named)

        return do

    with monkeypatch.context() as patch:
        for name in ("create", "grow", "mount"):
            patch.setattr(loop_image, name, cutting(getattr(loop_image, name)))
        patch.setattr(DataFiles, "copy", cutting(DataFiles.copy))
        patch.setattr(DataFiles, "remove", cutting(DataFiles.remove))
        patch.setattr(volume_folder, "write_atomically", cutting(volume_folder.write_atomically))
        patch.setattr(Path, "replace", cutting(Path.replace))
        patch.setattr(Path, "unlink", cutting(Path.unlink, lambda path: path.name == "disk.img" and path.exists()))
        with pytest.raises(ControllerKilled):
            bench.volumes.modify([ID], 32 * MIB, other)
    data = attached(bench, "between")  # the fleet goes on without the change
    require_data(data)
    (data / "words").write_text(MESSAGE)  # as its user would, so that its times and bits are no longer those
    os.chmod(data / "words", 0o6640)
    os.utime(data / "words", (1, 2))
    released(bench, "between")
    bench.volumes.modify([ID], 32 * MIB, other)
    assert (bench.volumes.list(FLEET)[0].size, bench.volumes.list(FLEET)[0].kind) == (32 * MIB, other)
    require_data(attached(bench, "last"))
    left_over = {path.name for path in bench.folder().iterdir()} - {"mounted", "volume.json"}
    assert left_over == {"data" if other == "folder" else "disk.img"}


def test_data_that_does_not_fit_stays_where_it_is(bench: Bench) -> None:
    bench.volumes.create([request(size=8 * MIB)])
    data = attached(bench, "first")
    (data / "big").write_bytes(b"x" * 20 * MIB)
    released(bench, "first")
    with pytest.raises(ProviderError, match="cp failed: .*No space left on device"):
        bench.volumes.modify([ID], 8 * MIB, "image")
    assert bench.volumes.list(FLEET)[0].kind == "folder"
    assert (attached(bench, "second") / "big").stat().st_size == 20 * MIB
    assert loop_image.device(bench.folder() / "mounted") is None, "nothing of the attempt is left"


def test_a_full_disk_refuses_a_volume_before_it_is_used(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        bench = Bench(disk)
        with pytest.raises(ProviderError, match="disk.img cannot get its 16777216 bytes: No space left on device"):
            bench.volumes.create([request(kind="image")])
        assert bench.volumes.list(FLEET) == []
        [volume] = bench.volumes.create([request(size=4 * MIB, kind="image")])
        assert volume.size == 4 * MIB
        with pytest.raises(ProviderError, match="cannot get its 67108864 bytes"):
            bench.volumes.modify([ID], 64 * MIB, "")
        assert bench.volumes.list(FLEET) == [volume]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_reboot_loses_the_mount_and_a_start_finds_the_data(bench: Bench) -> None:
    with_data(bench, "image")
    attached(bench, "second")
    loop_image.unmount(bench.folder() / "mounted")
    [mount] = bench.volumes.mounts(FLEET, "second")
    require_data(mount.source)
    assert loop_image.device(bench.folder() / "mounted") is not None


def test_a_creation_that_was_killed_is_begun_again_and_a_lost_document_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: Any) -> None:
        raise ControllerKilled

    with monkeypatch.context() as patch:
        patch.setattr(volume_folder.VolumeFolder, "save", killed)
        with pytest.raises(ControllerKilled):
            bench.volumes.create([request(kind="image")])
    [volume] = bench.volumes.create([request(kind="image")])
    assert volume.kind == "image"
    (bench.folder() / "volume.json").unlink()
    with pytest.raises(ProviderError, match="nothing says what it belongs to"):
        bench.volumes.create([request(kind="image")])


def test_owners_change_in_an_image_too(bench: Bench) -> None:
    with_data(bench, "image")
    data = attached(bench, "second", "2001:2002", reown=True)
    assert ((data / "words").stat().st_uid, data.stat().st_gid) == (2001, 2002)
    released(bench, "second")
    require_data(attached(bench, "back"))


def test_a_removed_image_leaves_no_mount(bench: Bench) -> None:
    with_data(bench, "image")
    loop_image.mount(bench.folder() / "disk.img", bench.folder() / "mounted")  # a killed run left it
    bench.volumes.remove([ID])
    assert not bench.folder().exists()


@pytest.mark.parametrize("kind", ["folder", "image"])
def test_docker_gets_a_folder_that_has_the_options_itself(bench: Bench, kind: str) -> None:
    bench.engine.name = "docker"
    bench.volumes.create([request(kind=kind)])
    image = artifact(OWNER)
    image["data"][0]["noexec"] = True
    bench.add("first", image=image, created=True)
    bench.volumes.attach([ID], "first")
    for _start in range(2):
        [mount] = bench.volumes.mounts(FLEET, "first")
    assert mount.source == bench.folder() / "restricted"
    program = mount.source / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(PermissionError):
        subprocess.run([program], check=False)
    assert mount.source.stat().st_uid == 1001
    released(bench, "first")
    assert [loop_image.device(bench.folder() / place) for place in ("restricted", "mounted")] == [None, None]
    bench.volumes.remove([ID])
    assert not bench.folder().exists()
