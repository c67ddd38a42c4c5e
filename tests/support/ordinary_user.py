# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands as an ordinary user with subordinate users, who exists for these commands only: no file of /etc changes."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

FIRST, SUBORDINATE, RANGE = 1_600_000_000, 1_700_000_000, 65_536  # numbers that no user of a machine has
NAME = "immutable-test"


@dataclass(frozen=True)
class OrdinaryUser:
    """A user with a home. ``prefix`` is the start of commands that run as the user."""

    home: Path
    number: int
    prefix: Sequence[str]

    def give(self, path: Path) -> None:
        """Make a file, or a folder with everything in it, the user's."""
        for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(each, self.number, self.number, follow_symlinks=False)


def ordinary_user(folder: Path, groups: Sequence[int] = ()) -> OrdinaryUser:
    """Create a user whose home is a new folder. The test is skipped where this is not possible.

    Args:
        folder: of files that must exist as long as the user. The user can enter it and those above it.
        groups: numbers of further groups of the user.
    """
    if os.geteuid() != 0:
        pytest.skip("another user needs root")
    draw = secrets.randbelow(1000)
    number, first = FIRST + draw, SUBORDINATE + draw * RANGE
    home = folder / "home"
    home.mkdir(mode=0o700)
    lines = {
        "passwd": f"{NAME}:x:{number}:{number}::{home}:/bin/sh",
        "group": f"{NAME}:x:{number}:",
        "subuid": f"{NAME}:{first}:{RANGE}",
        "subgid": f"{NAME}:{first}:{RANGE}",
    }
    script = ["#!/bin/sh", "set -e"]
    for name, line in lines.items():
        present = Path("/etc", name)
        if not present.exists():
            pytest.skip(f"subordinate users need {present}")
        (folder / name).write_text(f"{present.read_text(encoding='utf-8').rstrip()}\n{line}\n", encoding="utf-8")
        script.append(f"mount --bind {shlex.quote(str(folder / name))} {present}")
    further = f"--groups {','.join(map(str, groups))}" if groups else "--clear-groups"
    script.append(f'exec setpriv --reuid {number} --regid {number} {further} env HOME={shlex.quote(str(home))} "$@"')
    program = folder / "as-user"
    program.write_text("\n".join([*script, ""]), encoding="utf-8")
    program.chmod(0o755)
    user = OrdinaryUser(home, number, ["unshare", "--mount", "--propagation=private", str(program)])
    user.give(home)
    tried = subprocess.run([*user.prefix, "ansible", "--version"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"another user cannot run ansible here: {(tried.stderr or tried.stdout)[-300:]}")
    return user
