# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Use hardware virtualization only if a guest boots under it.

``/dev/kvm`` can exist and start machines that never come up. So one image is booted under it, read-only, until its
launch unit prints a line on the console. The result is valid for this boot of this machine and this version of QEMU.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...module_utils._supervised import Supervised
from .._core.documents import parse_json
from .._core.errors import ProviderError
from .._core.files import make_private_folder, write_atomically
from .._core.qcow2 import qcow2_node
from .._core.unprivileged import user_for
from .confinement import QEMU, giving_up_root

PROBE_SECONDS = 20.0  # with hardware virtualization the line appears after two to five
LAUNCHED_LINE = "IMMUTABLE-LAUNCHED"


@dataclass(frozen=True)
class Accel:
    """How QEMU runs guests."""

    name: Literal["kvm", "tcg"]  # tcg is plain emulation
    reason: str  # why, for people

    @property
    def options(self) -> list[str]:
        """Command-line options of QEMU."""
        if self.name == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi"]


def choose(directory: Path, disk: Path) -> Accel:
    """Find out what guests boot under.

    Args:
        directory: where the result is remembered.
        disk: a bootable qcow2 image to try it with.

    Raises ProviderError if QEMU is missing.
    """
    version = qemu_version()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accel("tcg", "plain emulation: /dev/kvm is missing or this user may not open it")
    key = f"{_boot_id()} {version}"
    file = directory / "accel.json"
    try:
        result = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = {}
    if result.get("key") != key:
        result = {"key": key, "boots": _boots_under_kvm(disk)}
        make_private_folder(directory)
        write_atomically(file, json.dumps(result).encode())
    if result["boots"]:
        return Accel("kvm", "hardware virtualization: a guest booted under it")
    return Accel("tcg", "plain emulation: /dev/kvm exists, but a guest did not boot under it")


def qemu_version() -> str:
    """The first line of ``qemu-system-x86_64 --version``. Raises ProviderError."""
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
    argv = [QEMU, "-nodefaults", "-no-user-config", "-machine", "pc", *Accel("kvm", "").options]
    argv += ["-m", "512", "-display", "none", "-no-reboot", "-serial", "file:/dev/stdout"]
    argv += ["-blockdev", json.dumps(qcow2_node(disk, "root")), "-device", "virtio-blk-pci,drive=root"]
    argv += giving_up_root(user_for(disk.parent))
    # Supervised: a guest that hangs must not outlive a run that is killed while it waits.
    with Supervised(argv, grace=1.0) as guest:
        return any(LAUNCHED_LINE in line for line in guest.lines(PROBE_SECONDS))
