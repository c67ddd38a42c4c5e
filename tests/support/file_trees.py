# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File systems of hosts as folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def put(root: Path, path: str, text: str = "", mode: int = 0o644) -> Path:
    """Write a file of the file system that ``root`` stands for."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def files_with(root: Path, content: bytes) -> Iterator[Path]:
    """The regular files below ``root`` that contain these bytes. What another process removes meanwhile is skipped."""
    for folder, _folders, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink() and content in path.read_bytes():
                    yield path
