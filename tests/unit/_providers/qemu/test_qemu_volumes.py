# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes of the qemu provider: real disks of qemu-img, machines that are only folders."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Volume, VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import volumes as qemu_volumes
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.volumes import QemuVolumes
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
MIB = 1 << 20
MESSAGE = b"what a customer left here"


@pytest.fixture
def volumes(tmp_path: Path) -> QemuVolumes:
    return QemuVolumes(tmp_path, tmp_path / "machines")


def machine(tmp_path: Path, name: str) -> str:
    MachineFolder(tmp_path / "machines/shop-local" / name).save({"fleet": "shop-local"})
    return name


def test_a_volume_is_created_once_and_keeps_its_size(volumes: QemuVolumes) -> None:
    request = VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=1 << 20, mount="/var/lib/shop")
    [first] = volumes.create([request])
    [second] = volumes.create([request])
    assert first == second == volumes.list("shop-local")[0]
    assert (first.slot, first.name, first.size, first.attached_to, first.kind) == (0, "uploads", 1 << 20, None, "qcow2")


def test_new_volumes_are_reported(volumes: QemuVolumes, tmp_path: Path) -> None:
    requests = [
        VolumeRequest(fleet="shop-local", slot=slot, name=name, size=MIB, mount="/srv", kind=kind)
        for slot, name, kind in ((0, "uploads", "qcow2"), (0, "index", "raw"), (10, "uploads", "raw"))
    ]
    volumes.create(requests)
    assert volumes.created_blank("shop-local", 0) == {"index": "blank", "uploads": "blank"}
    assert volumes.created_blank("shop-local", 1) == {}
    for name, kind in (("0-uploads", "qcow2"), ("0-index", "raw")):
        disk = tmp_path / f"volumes/shop-local/{name}/disk.{kind}"
        subprocess.run(["qemu-io", "-f", kind, "-c", "write -P 1 8192 512", disk], check=True, capture_output=True)
    volumes.create(requests)
    assert volumes.created_blank("shop-local", 0) == {"index": "new", "uploads": "new"}
    assert volumes.created_blank("shop-local", 10) == {"uploads": "blank"}
    volumes.modify(["shop-local/10-uploads"], 2 * MIB, "qcow2")
    assert volumes.created_blank("shop-local", 10) == {"uploads": "blank"}, "it grew and is still blank"


def test_a_volume_of_an_earlier_release_is_not_reported_as_new(volumes: QemuVolumes, tmp_path: Path) -> None:
    volumes.create([VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=MIB, mount="/srv")])
    folder = tmp_path / "volumes/shop-local/0-uploads"
    assert sorted(path.name for path in folder.iterdir()) == ["created-blank", "disk.qcow2", "volume.json"]
    (folder / "created-blank").unlink()
    assert volumes.created_blank("shop-local", 0) == {}
    volumes.create([VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=MIB, mount="/srv")])
    assert volumes.created_blank("shop-local", 0) == {}


def test_a_volume_has_one_holder_at_a_time(volumes: QemuVolumes, tmp_path: Path) -> None:
    [volume] = volumes.create(
        [VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=1 << 20, mount="/var/lib/shop")]
    )
    old, new = machine(tmp_path, "old"), machine(tmp_path, "new")
    volumes.attach([volume.id], old)
    volumes.attach([volume.id], old)
    with pytest.raises(ProviderError, match="is attached to old"):
        volumes.attach([volume.id], new)
    volumes.detach([volume.id])
    volumes.attach([volume.id], new)
    assert volumes.list("shop-local")[0].attached_to == "new"


def test_a_volume_whose_machine_is_gone_is_free(volumes: QemuVolumes, tmp_path: Path) -> None:
    [volume] = volumes.create(
        [VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=1 << 20, mount="/var/lib/shop")]
    )
    volumes.attach([volume.id], machine(tmp_path, "old"))
    MachineFolder(tmp_path / "machines/shop-local/old").remove()
    assert volumes.list("shop-local")[0].attached_to is None


def test_a_removed_machine_frees_its_volume_and_gets_no_other(volumes: QemuVolumes, tmp_path: Path) -> None:
    [volume] = volumes.create(
        [VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=MIB, mount="/var/lib/shop")]
    )
    volumes.attach([volume.id], machine(tmp_path, "old"))
    MachineFolder(tmp_path / "machines/shop-local/old").update(condemned=True)
    assert volumes.list("shop-local")[0].attached_to is None
    with pytest.raises(ProviderError, match="old is removed or being removed"):
        volumes.attach([volume.id], "old")


def with_data(volumes: QemuVolumes, kind: str = "") -> Volume:
    """A volume with data up to its last sector."""
    [volume] = volumes.create(
        [VolumeRequest(fleet="shop-local", slot=0, name="uploads", size=MIB, mount="/var/lib/shop", kind=kind)]
    )
    raw = folder_of(volumes) / "made.tmp"
    raw.write_bytes(MESSAGE.ljust(MIB, b"."))
    convert(raw, "raw", folder_of(volumes) / f"disk.{volume.kind}", volume.kind)
    raw.unlink()
    return volume


def folder_of(volumes: QemuVolumes) -> Path:
    return volumes._root / "shop-local/0-uploads"


def convert(source: Path, kind: str, copy: Path, into: str) -> None:
    subprocess.run(["qemu-img", "convert", "-f", kind, "-O", into, source, copy], check=True)


def data(volumes: QemuVolumes) -> bytes:
    [disk] = volumes._root.glob("shop-local/0-uploads/disk.*")  # and no other
    kind = volumes.list("shop-local")[0].kind
    assert disk.suffix == f".{kind}"
    copy = disk.with_name("read.tmp")
    convert(disk, kind, copy, "raw")
    content = copy.read_bytes()
    copy.unlink()
    assert len(content) == volumes.list("shop-local")[0].size
    return content[:MIB]


def test_a_volume_grows_and_changes_its_type_and_keeps_its_data(volumes: QemuVolumes) -> None:
    volume = with_data(volumes)
    before = data(volumes)
    assert before.startswith(MESSAGE)
    for size, kind, is_now in [
        (2 * MIB, "", "qcow2"),
        (2 * MIB, "raw", "raw"),
        (3 * MIB, "", "raw"),
        (4 * MIB, "qcow2", "qcow2"),
        (4 * MIB, "qcow2", "qcow2"),
    ]:
        volumes.modify([volume.id], size, kind)
        [volume] = volumes.list("shop-local")
        assert (volume.size, volume.kind) == (size, is_now)
        assert data(volumes) == before


def test_a_volume_of_an_early_release_is_qcow2(volumes: QemuVolumes) -> None:
    volume = with_data(volumes)
    document = folder_of(volumes) / "volume.json"
    facts = json.loads(document.read_text())
    del facts["kind"]
    document.write_text(json.dumps(facts))
    assert volumes.list("shop-local")[0].kind == "qcow2"
    volumes.modify([volume.id], MIB, "raw")
    assert data(volumes).startswith(MESSAGE)


def test_a_volume_does_not_shrink_and_an_attached_one_does_not_change(volumes: QemuVolumes, tmp_path: Path) -> None:
    volume = with_data(volumes)
    [other] = volumes.create(
        [VolumeRequest(fleet="shop-local", slot=1, name="uploads", size=MIB // 4, mount="/var/lib/shop")]
    )
    with pytest.raises(ProviderError, match=f"{MIB} bytes and cannot shrink to {MIB // 2}"):
        volumes.modify([other.id, volume.id], MIB // 2, "raw")
    assert volumes.list("shop-local")[1] == other, "nothing changes if one is refused"
    with pytest.raises(ProviderError, match="unknown type 'gp3' .qemu has: qcow2, raw"):
        volumes.modify([volume.id], MIB, "gp3")
    volumes.attach([volume.id], machine(tmp_path, "old"))
    with pytest.raises(ProviderError, match="is attached to old: detach it"):
        volumes.modify([volume.id], 2 * MIB, "")
    with pytest.raises(ProviderError, match="unknown type 'gp3'"):
        volumes.create([VolumeRequest(fleet="shop-local", slot=2, name="uploads", size=MIB, mount="/x", kind="gp3")])
    assert len(volumes.list("shop-local")) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_the_next_run_completes_an_interrupted_change(
    volumes: QemuVolumes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, number: int, after: bool
) -> None:
    """Interrupt before or after each step that changes a file, and write to the volume in between."""
    volume = with_data(volumes, kind)
    other = "raw" if kind == "qcow2" else "qcow2"
    left = number

    def cutting(step: Callable[..., object]) -> Callable[..., object]:
        def do(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0 and not after:
                raise ControllerKilled
            answer = step(*arguments, **named)
            if left < 0:
                raise ControllerKilled
            return answer

        return do

    with monkeypatch.context() as patch:
        patch.setattr(qemu_volumes, "_run", cutting(qemu_volumes._run))
        patch.setattr(qemu_volumes, "write_atomically", cutting(qemu_volumes.write_atomically))
        patch.setattr(Path, "replace", cutting(Path.replace))
        patch.setattr(Path, "unlink", cutting(Path.unlink))
        with pytest.raises(ControllerKilled):
            volumes.modify([volume.id], 2 * MIB, other)
    [volume] = volumes.list("shop-local")
    disk = folder_of(volumes) / f"disk.{volume.kind}"
    info = json.loads(
        subprocess.run(
            ["qemu-img", "info", "--output=json", "-f", volume.kind, disk], check=True, capture_output=True
        ).stdout
    )
    assert info["virtual-size"] >= volume.size, "the recorded size is never larger than the disk"
    subprocess.run(["qemu-io", "-f", volume.kind, "-c", "write -P 7 512k 64k", disk], check=True, capture_output=True)
    volumes.modify([volume.id], 2 * MIB, other)
    [volume] = volumes.list("shop-local")
    assert (volume.size, volume.kind) == (2 * MIB, other)
    content = data(volumes)
    assert content.startswith(MESSAGE) and content[MIB // 2 : MIB // 2 + 65536] == bytes([7]) * 65536


def test_leftovers_of_an_interrupted_change_are_removed_when_the_volume_is_used(
    volumes: QemuVolumes, tmp_path: Path
) -> None:
    volume = with_data(volumes)
    (folder_of(volumes) / "disk.raw").write_bytes(b"old")
    (folder_of(volumes) / "disk.raw.part").write_bytes(b"half")
    volumes.attach([volume.id], machine(tmp_path, "new"))
    assert [file.name for file in folder_of(volumes).glob("disk.*")] == ["disk.qcow2"]
