# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs that read disks, called by argument lists, found for ordinary users too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from .._core.errors import ImageError

# Where an ordinary user's PATH does not lead.
_MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PACKAGES = {"qemu-img": "qemu-utils", "sfdisk": "fdisk", "debugfs": "e2fsprogs"}
_ENGLISH = {"LC_ALL": "C"}  # their output is parsed


def program(name: str) -> str:
    """The program's path. Raises ImageError, naming its Debian package, where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_FOLDERS]))
    if found is None:
        raise ImageError(f"{name} is not installed (on Debian: apt install {_PACKAGES.get(name, name)})")
    return found


def environment() -> dict[str, str]:
    return {**os.environ, **_ENGLISH}


def run(name: str, arguments: Sequence[str]) -> bytes:
    """Its standard output. Raises ImageError with its last words."""
    done = subprocess.run(
        [program(name), *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=environment(), check=False
    )
    if done.returncode:
        raise ImageError(f"{name} failed (exit {done.returncode}): {last_words(done.stderr)}")
    return done.stdout


def last_words(output: bytes) -> str:
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"
