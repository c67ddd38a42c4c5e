# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hardware virtualization only where a guest was seen to boot under it.

``/dev/kvm`` can exist and start machines that never come up, so the base itself is booted once under it, from a
snapshot, until its launch unit speaks on the console. The answer holds for this boot of the machine and this QEMU.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...module_utils._supervised import Supervised
from .._core.errors import ProviderError
from .._core.files import write_atomically

PROBE_SECONDS = 20.0  # with hardware virtualization a guest speaks after two to five
SPOKEN = "IMMUTABLE-LAUNCHED"
QEMU = "qemu-system-x86_64"


@dataclass(frozen=True)
class Accel:
    """``name`` is ``kvm`` or ``tcg`` (plain emulation); ``reason`` tells a person why."""

    name: str
    reason: str

    @property
    def options(self) -> list[str]:
        """QEMU's options for it."""
        if self.name == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi"]


def choose(directory: Path, disk: Path) -> Accel:
    """Return what a guest on ``disk`` (a bootable qcow2) boots under; remembered in ``directory``.

    Raises ProviderError where QEMU is missing.
    """
    version = qemu_version()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accel("tcg", "plain emulation: /dev/kvm is missing or not open to this user")
    key = f"{_boot_id()} {version}"
    answers = directory / "accel.json"
    try:
        known = json.loads(answers.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if known.get("key") != key:
        known = {"key": key, "boots": _boots_under_kvm(disk)}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(answers, json.dumps(known).encode())
    if known["boots"]:
        return Accel("kvm", "hardware virtualization: a guest was seen to boot under it")
    return Accel("tcg", "plain emulation: /dev/kvm exists, but a guest did not boot under it")


def qemu_version() -> str:
    """The first line of ``qemu-system-x86_64 --version``."""
    try:
        done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ProviderError(f"{QEMU} is not installed (Debian: apt install qemu-system-x86 qemu-utils)") from None
    except subprocess.CalledProcessError as error:
        raise ProviderError(f"{QEMU} --version failed: {error.stderr.strip()}") from error
    return done.stdout.splitlines()[0]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _boots_under_kvm(disk: Path) -> bool:
    drive = {
        "driver": "qcow2",
        "node-name": "root",
        "read-only": True,
        "file": {"driver": "file", "filename": str(disk)},
    }
    argv = [
        QEMU,
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "pc",
        *Accel("kvm", "").options,
        "-m",
        "512",
        "-display",
        "none",
    ]
    argv += [
        "-serial",
        "file:/dev/stdout",
        "-blockdev",
        json.dumps(drive),
        "-device",
        "virtio-blk-pci,drive=root",
        "-no-reboot",
    ]
    # Supervised: a guest that hangs must not outlive a run that is killed meanwhile.
    with Supervised(argv, grace=1.0) as guest:
        return any(SPOKEN in line for line in guest.lines(PROBE_SECONDS))
