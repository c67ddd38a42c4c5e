# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real QEMU processes without a system: they run and ignore the power button."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.confinement import QEMU
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Instance,
    LaunchRequest,
    VolumeRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import machine, qmp
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuCompute
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.volumes import QemuVolumes
from ansible_collections.immutable.infra.tests.support.disks import BACKING_FILE, DATA_FILE, create_disk
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

pytestmark = pytest.mark.skipif(not (shutil.which(QEMU) and shutil.which("qemu-img")), reason="needs QEMU")
MIB = 1 << 20
FLEET_NAME = "shop-local"


@pytest.fixture
def volumes(tmp_path: Path) -> QemuVolumes:
    return QemuVolumes(tmp_path, tmp_path / "machines")


@pytest.fixture
def compute(tmp_path: Path, volumes: QemuVolumes) -> Iterator[QemuCompute]:
    created = QemuCompute(tmp_path, volumes, lambda _disk: Accel("tcg", "nothing boots here"))
    yield created
    for document in tmp_path.glob("machines/*/*/machine.json"):
        MachineFolder(document.parent).power_off()


@pytest.fixture
def launch(tmp_path: Path, compute: QemuCompute) -> Callable[..., Instance]:
    root = tmp_path / "root.qcow2"
    create_disk(root)

    def do(name: str, *volumes: str) -> Instance:
        facts = {
            "machine": {"memory": 64 * MIB, "cpus": 1},
            "volumes": volumes,
            "tags": {"by": "a test"},
            "zone": "any",
        }
        request = LaunchRequest(
            token=name,
            fleet=FLEET_NAME,
            slot=0,
            image="sha256:a",
            artifact={"path": str(root)},
            launch="l",
            nonce="n",
            **facts,
        )
        [instance] = compute.launch([request])
        return instance

    return do


def test_each_start_reports_which_volumes_are_new(
    tmp_path: Path, compute: QemuCompute, volumes: QemuVolumes, launch: Callable[..., Instance]
) -> None:
    def told(name: str) -> str:
        folder = MachineFolder(tmp_path / "machines" / FLEET_NAME / name)
        argv = Path(f"/proc/{folder.pid()}/cmdline").read_bytes()
        return (folder.folder / "blank").read_text() if b"name=opt/immutable/blank,file=" in argv else ""

    launch("m0")
    assert told("m0") == ""
    [volume] = volumes.create([VolumeRequest(fleet=FLEET_NAME, slot=0, name="uploads", size=MIB, mount="/srv")])
    launch("m1")
    assert told("m1") == "uploads blank\n", "also of a volume that is attached later"
    compute.power_off(["m1"])
    disk = tmp_path / f"volumes/{volume.id}/disk.qcow2"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 512", disk], check=True, capture_output=True)
    volumes.attach([volume.id], "m1")
    compute.start(["m1"])
    assert told("m1") == "uploads new\n"
    launch("m2")
    assert told("m2") == "uploads new\n", "although the disk is in use"


def states(compute: QemuCompute) -> dict[str, str]:
    return {instance.id: instance.state for instance in compute.list(FLEET_NAME)}


def kill(tmp_path: Path, name: str) -> None:
    """Like a guest that has shut down: its process ends."""
    pid = MachineFolder(tmp_path / "machines" / FLEET_NAME / name).pid()
    assert pid is not None
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    assert select.select([handle], [], [], PATIENCE)[0]
    os.close(handle)


def test_a_stop_returns_at_once_and_the_machine_is_stopping_until_it_is_down(
    compute: QemuCompute, launch: Callable[..., Instance]
) -> None:
    assert launch("m1").state == PENDING
    before = time.time()
    compute.stop(["m1", "never-known"])
    [first] = compute.list(FLEET_NAME)
    compute.stop(["m1"])
    [second] = compute.list(FLEET_NAME)
    assert first.state == second.state == STOPPING
    assert before <= first.stopping_since == second.stopping_since, "the first time counts"
    compute.power_off(["m1", "never-known"])
    [off] = compute.list(FLEET_NAME)
    assert (off.state, off.stopping_since) == (STOPPED, 0.0)
    compute.stop(["m1"])
    assert states(compute) == {"m1": STOPPED}
    compute.start(["m1"])
    [again] = compute.list(FLEET_NAME)
    assert (again.state, again.stopping_since) == (PENDING, 0.0)


def test_a_stop_resumes_a_paused_machine(
    compute: QemuCompute, launch: Callable[..., Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like QEMU when the disk of a volume is full."""
    monkeypatch.setattr(machine, "POWER_BUTTON_TIMEOUT", PATIENCE)  # a late answer is no error
    launch("m1")
    socket = tmp_path / "machines" / FLEET_NAME / "m1" / "qmp.sock"
    assert qmp.execute(socket, [("stop", {}), ("query-status", {})])[1]["status"] == "paused"
    compute.stop(["m1"])
    assert qmp.execute(socket, [("query-status", {})])[0]["status"] == "running"


def test_a_running_machine_that_is_removed_is_stopping_until_it_is_down(
    compute: QemuCompute, volumes: QemuVolumes, launch: Callable[..., Instance], tmp_path: Path
) -> None:
    [volume] = volumes.create([VolumeRequest(fleet=FLEET_NAME, slot=0, name="uploads", size=MIB, mount="/x")])
    launch("m1", volume.id)
    compute.remove(["m1", "never-known"])
    assert states(compute) == {"m1": STOPPING}
    assert volumes.list(FLEET_NAME)[0].attached_to == "m1"
    for forbidden in (lambda: compute.start(["m1"]), lambda: launch("m1")):
        with pytest.raises(ProviderError, match="m1 is (being removed|removed or being removed)"):
            forbidden()
    with pytest.raises(ProviderError, match="still running"):
        volumes.detach([volume.id])
    kill(tmp_path, "m1")
    assert volumes.list(FLEET_NAME)[0].attached_to is None, "whether or not the machines were listed since"
    assert states(compute) == {}
    assert not (tmp_path / "machines" / FLEET_NAME / "m1").exists()
    assert compute.fleets() == [FLEET_NAME], "its volume remains"
    volumes.remove([volume.id])
    assert compute.fleets() == []


def test_power_off_speeds_up_a_removal_and_a_stopped_machine_is_removed_at_once(
    compute: QemuCompute, launch: Callable[..., Instance], tmp_path: Path
) -> None:
    for name in ("m1", "m2"):
        launch(name)
    compute.remove(["m1"])
    compute.power_off(["m1", "m2"])
    assert states(compute) == {"m2": STOPPED}
    compute.remove(["m2"])
    assert not (tmp_path / "machines" / FLEET_NAME / "m2").exists()
    compute.remove(["m1", "m2"])


def test_disks_of_both_types_are_attached_at_run_time_and_at_boot(
    compute: QemuCompute, volumes: QemuVolumes, launch: Callable[..., Instance]
) -> None:
    created = volumes.create(
        [
            VolumeRequest(fleet=FLEET_NAME, slot=0, name=kind, size=MIB, mount="/x", kind=kind)
            for kind in ("qcow2", "raw")
        ]
    )
    launch("m1")
    for _repeated in range(2):
        volumes.attach([volume.id for volume in created], "m1")
    assert [volume.attached_to for volume in volumes.list(FLEET_NAME)] == ["m1", "m1"]
    launch("m2")
    with pytest.raises(ProviderError, match="lock"):
        volumes._machine_of(volumes._folder(created[0].id), "m2").plug(volumes.disks(FLEET_NAME, "m1"))
    compute.power_off(["m1"])
    compute.start(["m1"])
    assert states(compute)["m1"] == PENDING


def test_tags_are_set_and_removed_while_a_machine_runs(compute: QemuCompute, launch: Callable[..., Instance]) -> None:
    launch("m1")
    compute.tag(["m1", "never-known"], {"tainted": "unsealed", "by": None, "never": None})
    compute.stop(["m1"])
    [instance] = compute.list(FLEET_NAME)
    assert (instance.tags, instance.state) == ({"tainted": "unsealed"}, STOPPING)


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"\xff", b"[]", b'{"tags": {}}'])
def test_a_damaged_document_of_a_machine_does_not_hide_the_others(
    compute: QemuCompute, launch: Callable[..., Instance], tmp_path: Path, text: bytes
) -> None:
    launch("m1")
    launch("m2")
    document = tmp_path / "machines" / FLEET_NAME / "m1" / "machine.json"
    document.write_bytes(text)
    damaged, whole = compute.list(FLEET_NAME)
    assert (damaged.id, damaged.slot, damaged.state, damaged.evidence) == ("m1", -1, PENDING, None)
    assert (whole.id, whole.slot) == ("m2", 0)
    with pytest.raises(ProviderError, match="m1/machine.json is missing or damaged"):
        compute.start(["m1"])
    compute.power_off(["m1"])
    compute.remove(["m1"])
    assert states(compute) == {"m2": PENDING}


def test_a_machine_starts_without_the_evidence_of_its_earlier_boot(
    compute: QemuCompute, launch: Callable[..., Instance], tmp_path: Path
) -> None:
    launch("m1")
    folder = tmp_path / "machines" / FLEET_NAME / "m1"
    line = '\nIMMUTABLE-SEALED {"digest":"sha256:a","nonce":"n","host_key":"","shell":"off"}\n'
    for name in ("console.log", "evidence.log"):
        with (folder / name).open("a") as file:
            file.write(line)
    assert states(compute) == {"m1": RUNNING}
    compute.power_off(["m1"])
    compute.start(["m1"])
    assert states(compute) == {"m1": PENDING}
    assert states(QemuCompute(tmp_path, QemuVolumes(tmp_path, tmp_path / "machines"), None)) == {"m1": PENDING}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "named"),
    [(BACKING_FILE, "backing file"), (DATA_FILE, "data file")],
)
def test_a_disk_that_names_another_file_is_not_started(
    tmp_path: Path, compute: QemuCompute, launch: Callable[..., Instance], options: tuple[str, ...], named: str
) -> None:
    create_disk(tmp_path / "root.qcow2", options)
    with pytest.raises(ProviderError, match=f"root.qcow2 names a {named}.*: bake the image again"):
        launch("m1")
    assert compute.list(FLEET_NAME) == []


def test_a_volume_that_names_another_file_is_neither_started_nor_plugged(
    volumes: QemuVolumes, launch: Callable[..., Instance]
) -> None:
    [volume] = volumes.create([VolumeRequest(fleet=FLEET_NAME, slot=0, name="data", size=MIB, mount="/data")])
    [disk] = volumes._root.glob("*/*/disk.qcow2")
    create_disk(disk, BACKING_FILE)
    with pytest.raises(ProviderError, match="names a backing file"):
        launch("m1", volume.id)
    launch("m2")
    with pytest.raises(ProviderError, match="names a backing file"):
        volumes.attach([volume.id], "m2")
