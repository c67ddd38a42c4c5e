# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parts of the qemu provider that need no machine: launch documents, disks, process ids."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import qmp
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.command import Disk
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder


def test_only_root_can_read_the_secrets_of_a_launch() -> None:
    with tarfile.open(
        fileobj=io.BytesIO(launch_document({"nonce": b"n\n", "secrets/password": b"hunter22"}))
    ) as archive:
        assert {entry.name: entry.mode for entry in archive} == {"nonce": 0o444, "secrets/password": 0o400}


class HalfPlugged:
    """QEMU's answers, with the first device refused."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.devices: list[str] = []
        self.refusals = 1

    def execute(
        self, _path: Path, commands: Sequence[tuple[str, Mapping[str, Any]]], *, passed: Sequence[int] = ()
    ) -> list[Any]:
        assert [name for name, _arguments in commands].count("add-fd") == len(passed)
        return [self._answer(name, arguments) for name, arguments in commands]

    def _answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "query-named-block-nodes":
            return [{"node-name": node} for node in self.nodes]
        if name == "qom-list":
            return [{"name": device, "type": "child<virtio-blk-pci>"} for device in self.devices]
        if name in ("query-fdsets", "add-fd"):
            return []
        if name == "blockdev-add":
            self.nodes.append(arguments["node-name"])
        elif self.refusals:
            self.refusals -= 1
            raise ProviderError("QEMU refused device_add: no slot")
        else:
            self.devices.append(arguments["id"])
        return {}


def test_a_half_attached_disk_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu, disk = HalfPlugged(), Disk(tmp_path / "disk.qcow2", "uploads")
    disk.path.touch()
    monkeypatch.setattr(qmp, "execute", qemu.execute)
    with pytest.raises(ProviderError, match="no slot"):
        MachineFolder(tmp_path / "m1").plug([disk])
    for _again in range(2):
        MachineFolder(tmp_path / "m1").plug([disk])
    assert (qemu.nodes, qemu.devices) == (["data-uploads"], ["disk-uploads"])


def test_a_machine_that_does_not_answer_is_one_clear_error_and_others_still_stop(
    tmp_path: Path,
) -> None:
    with pytest.raises(ProviderError, match="^QEMU of gone does not answer: "):
        qmp.execute(tmp_path / "gone/qmp.sock", [])
    MachineFolder(tmp_path / "gone").ask_to_stop()


def test_a_pid_of_another_process_is_not_the_machine(tmp_path: Path) -> None:
    folder = MachineFolder(tmp_path / "m1")
    folder.save({})
    (tmp_path / "m1/qemu.pid").write_text("1\n")
    assert folder.pid() is None
