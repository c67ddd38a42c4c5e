# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hardware virtualization is used only if a guest boots. Here a script replaces QEMU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import accel

QEMU = """#!/bin/sh
[ "$1" = --version ] && echo "QEMU emulator version 7.2" && exit
case "$*" in *"-cpu help") exit;; esac
echo probed >> {log}
console=
while [ $# -gt 0 ]; do
    [ "$1" = -serial ] && console=${{2#file:}}
    shift
done
{guest}
"""
SPEAKS = r"printf 'booting\r\n\r\nIMMUTABLE-LAUNCHED\r\n' > $console; exec sleep 300"


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """Put a QEMU on the path whose guest runs a script; returns a function that counts the boots."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/dev/kvm" or real(path, mode))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def put(guest):
        script = tmp_path / accel.QEMU
        script.write_text(QEMU.format(log=tmp_path / "log", guest=guest))
        script.chmod(0o755)
        return lambda: len((tmp_path / "log").read_text().splitlines())

    return put


def test_a_guest_that_boots_enables_kvm_and_is_remembered(tmp_path, qemu):
    probes = qemu(SPEAKS)
    assert [accel.choose(tmp_path, Path("disk")).name for _again in range(2)] == ["kvm", "kvm"]
    assert probes() == 1


@pytest.mark.parametrize("guest", ["exit 1", "exec sleep 300"])
def test_a_guest_that_ends_or_hangs_means_emulation(tmp_path, qemu, monkeypatch, guest):
    monkeypatch.setattr(accel, "PROBE_SECONDS", 0.5)
    qemu(guest)
    assert accel.choose(tmp_path, Path("disk")).name == "tcg"
