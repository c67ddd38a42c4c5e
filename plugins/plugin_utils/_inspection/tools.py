# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the programs that read disks. Finds them for ordinary users, too."""

from __future__ import annotations

from collections.abc import Sequence

from .._core.errors import ImageError
from .._core.programs import child_environment, find_program, run_to_end

# Often not in an ordinary user's PATH.
_EXTRA_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PACKAGES = {"qemu-img": "qemu-utils", "sfdisk": "fdisk", "debugfs": "e2fsprogs"}
_ENGLISH = {"LC_ALL": "C"}


def program(name: str) -> str:
    """Return the program's path. Raises ImageError with its Debian package if it is not installed."""
    found = find_program(name, _EXTRA_FOLDERS)
    if found is None:
        raise ImageError(f"{name} is not installed (on Debian: apt install {_PACKAGES.get(name, name)})")
    return found


def environment() -> dict[str, str]:
    """Return the environment for programs whose output is parsed."""
    return child_environment(**_ENGLISH)


def run(name: str, arguments: Sequence[str]) -> str:
    """Run a program and return its standard output. Raises ImageError with the last lines of its errors."""
    done = run_to_end([program(name), *arguments], env=environment())
    if done.returncode:
        raise ImageError(f"{name} failed (exit {done.returncode}): {last_lines(done.stderr.encode())}")
    return done.stdout


def last_lines(output: bytes) -> str:
    """Return the last lines that are not empty as one line."""
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "no error message"
