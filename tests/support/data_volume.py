# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that prepares a data volume, with a file instead of a device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "roles/seal/files"
LIBRARY = FILES / "seal/usr/lib/immutable"
REPORT = FILES / "launch/usr/lib/immutable/report"
SCRIPT = LIBRARY / "data"
SEARCH_PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
MIB = 1 << 20


class Guest:
    def __init__(self, folder: Path) -> None:
        self.disk = folder / "uploads"
        self._script = folder / "data"
        self._path = f"{folder / 'bin'}:{SEARCH_PATH}"
        self.mount = folder / "var lib shop"
        self.mount.mkdir(mode=0o750)
        (folder / "fstab").write_text(f"{self.disk} {str(self.mount).replace(' ', chr(92) + '040')} ext4 rw 0 0\n")
        (folder / "bin").mkdir()
        blockdev = folder / "bin/blockdev"  # the real one supports only devices
        blockdev.write_text('#!/bin/sh\nexec stat -c %s "$2"\n')
        blockdev.chmod(0o755)
        self._states = folder / "blank"
        self._console = folder / "console"
        self._console.touch()
        (folder / "report").write_text(REPORT.read_text().replace("/dev/console", str(self._console)))
        text = SCRIPT.read_text()
        for real, replacement in {
            "/dev/disk/immutable/": f"{folder}/",
            "/usr/lib/immutable/report": str(folder / "report"),
            "/etc/fstab": f"{folder / 'fstab'}",
            "/run/immutable/blank": f"{self._states}",
            "/usr/bin/python3": sys.executable,
            "/usr/lib/immutable/blank": str(LIBRARY / "blank"),
            "/usr/lib/immutable/reown-volumes": f"{folder / 'reown-volumes'}",
            "/usr/lib/immutable/reown ": f"{LIBRARY / 'reown'} ",
        }.items():
            assert real in text
            text = text.replace(real, replacement)
        self._script.write_text(text)

    def mount_instead(self, folder: Path) -> None:
        """Let commands that need the volume mounted use this folder."""
        unshare = folder.parent / "bin/unshare"
        unshare.write_text(
            f'#!/bin/sh\necho "$8" >> {folder.parent}/reowned\nexec {sys.executable} {LIBRARY / "reown"} {folder} $8\n'
        )
        unshare.chmod(0o755)

    def attributes(self) -> dict[str, str]:
        """What the volume records about its owner."""
        names = ("owner", "previous", "change")
        found = {name: self.run("debugfs", "-R", f"ea_get <2> trusted.immutable.{name}", self.disk) for name in names}
        return {name: text.split('"')[1] for name, text in found.items() if '"' in text}

    def record(self, **attributes: str) -> None:
        for name, value in attributes.items():
            self.run("debugfs", "-w", "-R", f'ea_set <2> trusted.immutable.{name} "{value}"', self.disk)

    def run(self, *argv: object) -> str:
        return subprocess.run(
            [str(argument) for argument in argv], check=True, capture_output=True, text=True, env={"PATH": self._path}
        ).stdout

    def prepare(self) -> str:
        return self.run("sh", self._script, "uploads")

    def report(self, state: str) -> None:
        """Report that the provider created the volume: "blank", or "new" if something wrote to it since."""
        self._states.write_text(f"logs blank\nuploads {state}\nuploads-2 blank\n")

    def report_nothing(self) -> None:
        self._states.unlink(missing_ok=True)

    def refuse(self) -> str:
        """Run the script, which must fail without a change of the volume, and return its reason on the console."""
        before = self.disk.read_bytes()
        reason = self.fail()
        assert self.disk.read_bytes() == before
        return reason

    def fail(self) -> str:
        """Run the script, which must fail, and return its reason on the console."""
        self._console.write_text("")
        with pytest.raises(subprocess.CalledProcessError):
            self.prepare()
        mark, _space, text = self._console.read_text().strip().partition(" ")
        fields = json.loads(text)
        assert (mark, fields["volume"]) == ("IMMUTABLE-DATA", "uploads")
        return str(fields["reason"])

    def resize(self, size: int) -> None:
        with open(self.disk.resolve(), "ab") as disk:
            disk.truncate(size)

    def fact(self, name: str) -> str:
        lines = self.run("dumpe2fs", "-h", self.disk).splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def size(self) -> int:
        return int(self.fact("Block count")) * int(self.fact("Block size"))
