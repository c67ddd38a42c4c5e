# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes below a root file system and collects what changed, so that a second seal changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field


class Refused(Exception):
    """Something of the image or the definition that a sealed host could not have as written."""


def owner(path: str) -> tuple[int, int, int]:
    """Return mode, uid and gid. A missing path counts as a folder of root. Raises OSError."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return (0o755, 0, 0)
    return (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@dataclass
class Changes:
    """Writes below ``root`` and collects the changed paths. A second run changes nothing."""

    root: str
    paths: list[str] = field(default_factory=list)

    def full_path(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def lines(self, path: str) -> list[str]:
        """Return the lines of a file, [] if there is none. Bytes that are not UTF-8 are surrogate escapes."""
        full = self.full_path(path)
        if not os.path.exists(full):
            return []
        with open(full, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read().split("\n")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, unless it has this content and mode already."""
        full = self.full_path(path)
        if os.path.isfile(full) and not os.path.islink(full):
            with open(full, encoding="utf-8", errors="surrogateescape", newline="\n") as old:
                if old.read() == text and stat.S_IMODE(os.stat(full).st_mode) == mode:
                    return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        # Private until it is complete, because one of these files is /etc/shadow.
        with open(full + ".new", "w", encoding="utf-8", errors="surrogateescape", newline="\n", opener=_private) as new:
            new.write(text)
        os.chmod(full + ".new", mode)
        os.replace(full + ".new", full)
        self.paths.append(path)

    def rewrite(self, path: str, text: str) -> None:
        """Write an existing file. It keeps its mode and its owner."""
        mode, uid, gid = owner(self.full_path(path))
        before = len(self.paths)
        self.write(path, text, mode)
        if len(self.paths) > before:
            os.chown(self.full_path(path), uid, gid)

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link. Replaces an existing file."""
        full = self.full_path(path)
        if os.path.islink(full) and os.readlink(full) == target:
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.lexists(full):
            os.remove(full)
        os.symlink(target, full)
        self.paths.append(path)

    def remove(self, path: str) -> None:
        """Remove a file or a folder with its content."""
        full = self.full_path(path)
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        else:
            os.remove(full)
        self.paths.append(path)
