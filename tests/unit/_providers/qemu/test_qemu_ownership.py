# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Only what has a document of this project is removed: a folder's name alone proves nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.files import remove_documented
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest, VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

FLEET, TOKEN = "shop-local", "shop-local-0-launch-1"


@pytest.fixture
def provider(tmp_path: Path) -> QemuProvider:
    def balancer(fleet: str) -> HAProxy:
        return HAProxy(tmp_path / "traffic" / fleet, fleet, TrafficSpec(), Health(http=HttpProbe(port=8080)))

    return QemuProvider(tmp_path / "qemu", balancer, tmp_path / "images")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(b"disk")
    return path


def request(disk: Path) -> LaunchRequest:
    machine = {"memory": 1, "cpus": 1}
    return LaunchRequest(
        token=TOKEN,
        fleet=FLEET,
        slot=0,
        image="sha256:a",
        artifact={"path": str(disk)},
        launch="launch",
        nonce="n",
        machine=machine,
    )


def launch(provider: QemuProvider, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch a machine whose run is killed before it starts QEMU."""

    def start(*_args: object, **_options: object) -> None:
        raise ControllerKilled

    monkeypatch.setattr(MachineFolder, "start", start)
    monkeypatch.setattr(
        "ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider.choose", print
    )
    with pytest.raises(ControllerKilled):
        provider.compute.launch([request(disk)])


@pytest.mark.parametrize("name", ["notes", "shop-local-1-launch-1"])
def test_a_folder_of_the_user_among_the_machines_stays(
    provider: QemuProvider, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    theirs = tmp_path / "qemu/machines" / FLEET / name
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("of the user", encoding="utf-8")
    launch(provider, disk, monkeypatch)
    provider.compute.remove([name])
    assert (theirs / "notes.txt").read_text(encoding="utf-8") == "of the user" and provider.compute.fleets() == []


def test_a_folder_of_the_user_in_the_way_of_a_machine_stays(
    provider: QemuProvider, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "qemu/machines" / FLEET / TOKEN
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("of the user", encoding="utf-8")
    with pytest.raises(ProviderError, match="is in the way of a new machine.* move it away"):
        launch(provider, disk, monkeypatch)
    assert (theirs / "notes.txt").exists()


@pytest.mark.parametrize("names", [("launch.tar",), ("reach-relay.py",), ("reach-relay.py", ".launch.tar.x1")])
def test_what_an_interrupted_launch_left_is_removed(
    provider: QemuProvider, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    left = tmp_path / "qemu/machines" / FLEET / "shop-local-1-launch-1"
    left.mkdir(parents=True)
    for name in names:
        (left / name).write_bytes(b"")
    never_started = MachineFolder(left.with_name("shop-local-2-launch-1"))
    never_started.save({"fleet": FLEET, "started": 0.0})
    launch(provider, disk, monkeypatch)
    assert [folder.name for folder in left.parent.iterdir()] == [TOKEN]


def test_a_volume_without_its_document_stays(provider: QemuProvider, tmp_path: Path) -> None:
    theirs = tmp_path / "qemu/volumes" / FLEET / "0-uploads"
    theirs.mkdir(parents=True)
    (theirs / "disk.qcow2").write_bytes(b"restored by hand")
    assert provider.volumes.list(FLEET) == []
    provider.volumes.remove([f"{FLEET}/0-uploads"])
    assert (theirs / "disk.qcow2").read_bytes() == b"restored by hand"


def test_a_folder_of_the_user_in_place_of_a_load_balancer_stays(provider: QemuProvider, tmp_path: Path) -> None:
    theirs = tmp_path / "traffic" / FLEET
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("of the user", encoding="utf-8")
    provider.traffic(FLEET).remove()
    assert (theirs / "notes.txt").exists()
    (theirs / "state.json").write_text("{}", encoding="utf-8")
    provider.traffic(FLEET).remove()
    assert not theirs.exists()


def test_an_interrupted_removal_keeps_the_document_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for name in ("a.json", "b", "below/c"):
        (folder / name).write_text("", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert not remove_documented(link, "a.json") and not remove_documented(folder, "b.json")

    def killed(_path: Path, **_options: object) -> None:
        raise ControllerKilled

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", killed)
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(ControllerKilled):
            remove_documented(folder, "a.json")
    assert (folder / "a.json").exists()
    assert remove_documented(folder, "a.json") and not folder.exists()


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_disk_with_data_is_never_created_again(provider: QemuProvider, tmp_path: Path, kind: str) -> None:
    """Someone restored the disk, but not the document next to it."""
    wanted = VolumeRequest(fleet=FLEET, slot=0, name="uploads", size=1024**2, mount="/srv", kind="qcow2", zone="")
    folder = tmp_path / "qemu/volumes" / FLEET / "0-uploads"
    folder.mkdir(parents=True)
    raw = tmp_path / "raw"
    raw.write_bytes(b"of the user" * 100_000)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, str(raw), str(folder / f"disk.{kind}")], check=True)
    before = (folder / f"disk.{kind}").read_bytes()
    with pytest.raises(ProviderError, match="holds data, but .*volume.json is missing"):
        provider.volumes.create([wanted])
    assert (folder / f"disk.{kind}").read_bytes() == before


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
@pytest.mark.parametrize("left", [b"", b"half a header", None])
def test_what_an_interrupted_creation_left_is_created_again(
    provider: QemuProvider, tmp_path: Path, left: bytes | None
) -> None:
    wanted = VolumeRequest(fleet=FLEET, slot=0, name="uploads", size=1024**2, mount="/srv", kind="qcow2", zone="")
    folder = tmp_path / "qemu/volumes" / FLEET / "0-uploads"
    provider.volumes.create([wanted])
    (folder / "volume.json").unlink()
    if left is not None:
        (folder / "disk.qcow2").write_bytes(left)
    (again,) = provider.volumes.create([wanted])
    assert again.size == 1024**2 and provider.volumes.list(FLEET) == [again]
