# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Output of machines without a bound: what of it is read, what is kept, and which file decides."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.kept_evidence import PROVEN
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import console
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.console import (
    CONSOLE,
    KEPT,
    PORT,
    BootEvidence,
    console_text,
    reclaim,
)

HUGE = 600 * 1024**2
FORGED = "ssh-ed25519 AAAAEvil"


def line(host_key: str = "ssh-ed25519 AAAA", nonce: str = "n1") -> str:
    fields = {"digest": "sha256:aaaa", "nonce": nonce, "host_key": host_key, "shell": "restricted"}
    return f"\nIMMUTABLE-SEALED {json.dumps(fields)}\n"


class Reads:
    """Counts the bytes that are read of output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._pread = os.pread
        monkeypatch.setattr(console.os, "pread", self.pread)

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        data = self._pread(handle, length, offset)
        self.count += len(data)
        return data

    def taken(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def huge(folder: Path, first: str = "", last: str = "") -> Path:
    """Output of 600 MB with holes instead of text in the middle."""
    path = folder / CONSOLE
    path.write_text(first)
    os.truncate(path, HUGE)
    with path.open("ab") as file:
        file.write(last.encode())
    return path


def key_in(found: BootEvidence, folder: Path, boot: str = "1@1", nonce: str = "n1") -> str | None:
    evidence = found.of(folder, boot, nonce)
    return evidence and evidence.host_key


def test_output_is_read_once_and_of_much_output_only_both_ends(tmp_path: Path, reads: Reads) -> None:
    path, found = huge(tmp_path, first="booting\n"), BootEvidence()
    assert key_in(found, tmp_path) is None
    assert reads.taken() <= 2 * KEPT
    with path.open("ab") as file:
        file.write(b"more\n")
    assert key_in(found, tmp_path) is None
    assert reads.taken() == len(b"more\n")
    with path.open("ab") as file:
        file.write(line().encode())
    assert key_in(found, tmp_path) == "ssh-ed25519 AAAA"
    assert reads.taken() == len(line())


@pytest.mark.parametrize("where", ["first", "last"])
def test_evidence_at_both_ends_is_found_once_for_all_runs(tmp_path: Path, reads: Reads, where: str) -> None:
    huge(tmp_path, **{where: line()})
    assert key_in(BootEvidence(), tmp_path) == "ssh-ed25519 AAAA"
    assert 0 < reads.taken() <= 2 * KEPT
    huge(tmp_path)
    assert key_in(BootEvidence(), tmp_path) == "ssh-ed25519 AAAA"
    assert reads.taken() == 0
    assert key_in(BootEvidence(), tmp_path, boot="2@1") is None, "another boot has to prove itself again"


def test_the_text_of_much_output_has_both_ends(tmp_path: Path) -> None:
    huge(tmp_path, first="SeaBIOS", last="panic")
    text = console_text(tmp_path)
    assert text.startswith("SeaBIOS") and text.endswith("panic") and "bytes are left out" in text
    assert len(text) < 2 * KEPT + 100
    assert console_text(tmp_path / "none") == ""


def test_the_space_of_output_that_is_never_read_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / CONSOLE
    path.write_bytes(b"a" * KEPT + b"b" * 6 * KEPT + line().encode() + b"c" * KEPT)
    before, size = console_text(tmp_path), path.stat().st_size
    reclaim(tmp_path)
    if path.stat().st_blocks * 512 > 4 * KEPT:
        pytest.skip("this file system has no holes")
    assert (console_text(tmp_path), path.stat().st_size) == (before, size), "QEMU goes on at the same place"
    reclaim(tmp_path / "none")


def test_the_port_decides_alone_as_soon_as_it_has_output(tmp_path: Path) -> None:
    found = BootEvidence()
    (tmp_path / PORT).write_text("IMMUTABLE-BOOTING\n")
    (tmp_path / CONSOLE).write_text(line(FORGED))
    assert key_in(found, tmp_path) is None
    with (tmp_path / PORT).open("a") as file:
        file.write(line())
    assert key_in(found, tmp_path) == "ssh-ed25519 AAAA"


def test_a_machine_without_output_on_its_port_has_its_evidence_on_the_console(tmp_path: Path) -> None:
    (tmp_path / CONSOLE).write_text(line())
    assert key_in(BootEvidence(), tmp_path) == "ssh-ed25519 AAAA", "started by 0.2.0"
    (tmp_path / PORT).write_text("")
    (tmp_path / PROVEN).unlink()
    assert key_in(BootEvidence(), tmp_path) == "ssh-ed25519 AAAA", "its image was baked by 0.2.0"


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"boot": "1@1"}', '{"boot": "1@1", "evidence": {"digest": 1}}'])
def test_a_damaged_record_of_evidence_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVEN).write_text(text)
    (tmp_path / CONSOLE).write_text(line())
    assert key_in(BootEvidence(), tmp_path) == "ssh-ed25519 AAAA"


def test_evidence_with_another_nonce_is_not_kept(tmp_path: Path) -> None:
    found = BootEvidence()
    (tmp_path / CONSOLE).write_text(line(FORGED, nonce="n0"))
    assert key_in(found, tmp_path) == FORGED, "the caller refuses it"
    assert not (tmp_path / PROVEN).exists()
    with (tmp_path / CONSOLE).open("a") as file:
        file.write(line())
    assert key_in(found, tmp_path) == "ssh-ed25519 AAAA"
