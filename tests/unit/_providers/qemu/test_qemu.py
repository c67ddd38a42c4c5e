# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parts of the qemu provider that need no machine: launch documents, evidence."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import qmp
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import Disk, MachineFolder

CAPTURED = (
    "SeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n[    0.000000] tsc: Unable to calibrate against PIT\r\n\r\n"
    "IMMUTABLE-LAUNCHED\r\n\r\n"
    'IMMUTABLE-SEALED {"digest":"sha256:aaaa","nonce":"n1","host_key":"ssh-ed25519 AAAAC3Nza","shell":"restricted"}\r\n'
)


def test_evidence_is_read_from_a_captured_console() -> None:
    evidence = parse_evidence(CAPTURED)
    assert evidence is not None
    assert (evidence.digest, evidence.nonce, evidence.host_key, evidence.shell) == (
        "sha256:aaaa",
        "n1",
        "ssh-ed25519 AAAAC3Nza",
        "restricted",
    )


@pytest.mark.parametrize(
    "console",
    [
        "",
        "IMMUTABLE-SEALED",
        "IMMUTABLE-SEALED {",
        'IMMUTABLE-SEALED {"digest": 1}',
        "IMMUTABLE-SEALED []",
        CAPTURED[:-20],
    ],
)
def test_an_incomplete_line_is_no_evidence(console: str) -> None:
    assert parse_evidence(console) is None


def test_the_last_boot_counts() -> None:
    evidence = parse_evidence(CAPTURED + CAPTURED.replace("n1", "n2"))
    assert evidence is not None and evidence.nonce == "n2"


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

    def execute(self, _path: Path, commands: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return [self._answer(name, arguments) for name, arguments in commands]

    def _answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "query-named-block-nodes":
            return [{"node-name": node} for node in self.nodes]
        if name == "qom-list":
            return [{"name": device, "type": "child<virtio-blk-pci>"} for device in self.devices]
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
