# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a machine's folder says while it gets another disk. That it boots from it: tests/vm/test_reimage.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import STOPPED, LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.machine_document import (
    LAUNCH,
    NEXT_LAUNCH,
    instance_of,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.image_users import image_users
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.reimage import QemuReimager
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.root_state import REQUESTED, RootState


class Machines:
    """One machine, which boots as a test says."""

    def __init__(self, folder: Path) -> None:
        self.machine = MachineFolder(folder)
        self.booted: list[bool] = []
        self.fails = False

    def find(self, instance_id: str) -> MachineFolder | None:
        return self.machine if instance_id == self.machine.id else None

    def boot(self, machine: MachineFolder, keep_ports: bool = False) -> None:
        self.booted.append(keep_ports)
        if self.fails:
            raise ProviderError("QEMU did not start")


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    found = Machines(tmp_path / "machines/shop-local/m1")
    (tmp_path / "old.qcow2").touch()
    (tmp_path / "new.qcow2").touch()
    found.machine.save(
        {
            "fleet": "shop-local",
            "slot": 0,
            "image": "sha256:1",
            "launch": "l1",
            "nonce": "n1",
            "tags": {"swap": "0", "attempt": "0", "tainted": "by hand"},
            "disk": str(tmp_path / "old.qcow2"),
            "ports": ["8080"],
            "endpoints": {"8080": 40000},
            "created": 1.0,
            "started": 1.0,
        }
    )
    (found.machine.folder / LAUNCH).write_bytes(b"old")
    return found


def request(tmp_path: Path) -> LaunchRequest:
    return LaunchRequest(
        token="t",  # noqa: S106  no secret
        fleet="shop-local",
        slot=0,
        image="sha256:2",
        artifact={"path": str(tmp_path / "new.qcow2")},
        launch="l2",
        nonce="n2",
        ports=(8080,),
        machine={"memory": 1024**3, "cpus": 1},
        tags={"swap": "1", "attempt": "0"},
    )


def state(machines: Machines) -> tuple[str, RootState]:
    facts = machines.machine.facts()
    assert facts
    instance = instance_of(machines.machine, facts, None, running=False)
    assert instance.state == STOPPED
    return instance.image, instance.root


def test_a_machine_keeps_its_ports_and_the_image_that_it_may_go_back_to(machines: Machines, tmp_path: Path) -> None:
    reimager = QemuReimager(machines)
    for _again in range(2):
        reimager.reimage({"m1": request(tmp_path), "gone": request(tmp_path)})
    assert machines.booted == [True] and state(machines) == ("sha256:2", RootState("sha256:1"))
    facts = machines.machine.facts() or {}
    assert facts["endpoints"] == {"8080": 40000} and "tainted" not in facts["tags"]
    assert (machines.machine.folder / LAUNCH).read_bytes() != b"old"
    assert not (machines.machine.folder / NEXT_LAUNCH).exists()
    artifacts = [{"path": str(tmp_path / name)} for name in ("old.qcow2", "new.qcow2")]
    assert [len(users) for users in image_users(tmp_path / "machines", artifacts)] == [1, 1]
    reimager.release(["m1"])
    assert [len(users) for users in image_users(tmp_path / "machines", artifacts)] == [0, 1]
    assert state(machines) == ("sha256:2", RootState())


def test_what_an_interrupted_run_recorded_is_begun_by_the_next_one(machines: Machines, tmp_path: Path) -> None:
    machines.fails = True
    with pytest.raises(ProviderError):
        QemuReimager(machines).reimage({"m1": request(tmp_path)})
    assert state(machines) == ("sha256:2", RootState("sha256:1", REQUESTED))
    machines.fails = False
    QemuReimager(machines).reimage({"m1": request(tmp_path)})
    assert state(machines) == ("sha256:2", RootState("sha256:1"))


def test_a_missing_disk_is_refused_before_anything_changes(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "new.qcow2").unlink()
    with pytest.raises(ProviderError, match=r"the image's disk is missing: .*new.qcow2"):
        QemuReimager(machines).check([], [request(tmp_path)])
    with pytest.raises(ProviderError, match="the image's disk is missing"):
        QemuReimager(machines).reimage({"m1": request(tmp_path)})
    assert state(machines) == ("sha256:1", RootState())
