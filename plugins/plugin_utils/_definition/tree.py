# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that are inputs of a bake, and the parts of each that the digest covers."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._core.errors import DefinitionError
from .._core.files import STORE_MARKER, file_sha256
from .model import Definition

# Files of version control, editors and tools are not inputs.
IGNORED = (
    *(".git", ".hg", ".svn", ".ansible", ".cache", ".molecule", "__pycache__", "*.pyc", "*.retry", ".DS_Store"),
    *("*~", ".*.sw?", "#*#", ".#*", "*.bak", "*.orig"),
)


def tree_files(definition: Definition) -> list[Path]:
    """Return all files and links below the playbook's folder, and the other files that the definition names.

    The paths are relative to the definition's folder and sorted. The bake copies exactly these files.

    Raises DefinitionError if a folder cannot be read.
    """
    root = (definition.folder / definition.provision.playbook).parent
    found = set(_walk(root)) - _separate_files(definition)
    provision = definition.provision
    found |= {
        definition.folder / name for name in (provision.playbook, provision.requirements, *provision.vars_files) if name
    }
    return sorted(path.relative_to(definition.folder) for path in found)


def tree_entries(definition: Definition) -> dict[str, dict[str, Any]]:
    """Return the entry of each path: ``{"sha256", "executable"}`` of a file, ``{"link"}`` of a link.

    Raises DefinitionError if a path cannot be read, is neither a file nor a link, or is a link that leads outside the
    playbook's folder.
    """
    root = (definition.folder / definition.provision.playbook).parent
    return {_checked_name(path): file_entry(definition.folder / path, root) for path in tree_files(definition)}


def file_entry(path: Path, root: Path) -> dict[str, Any]:
    """Return the entry of one file or link, which must stay inside ``root``. Raises DefinitionError."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return {"link": _checked_link(path, root)}
        if not stat.S_ISREG(mode):
            raise DefinitionError(
                f"{path}: is neither a file, a folder nor a link, and cannot be baked; move it elsewhere"
            )
        return {"sha256": file_sha256(path), "executable": bool(mode & stat.S_IXUSR)}
    except (OSError, RuntimeError) as error:
        raise DefinitionError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _checked_link(path: Path, root: Path) -> str:
    target = os.readlink(path)
    if os.path.isabs(target) or not (path.parent / target).resolve().is_relative_to(root.resolve()):
        raise DefinitionError(
            f"{path}: the link to {target} leads outside {root}, the folder of the provision playbook "
            "(allowed: a relative link inside it)"
        )
    return target


def _separate_files(definition: Definition) -> set[Path]:
    """Return files that can be in the playbook's folder but are not inputs as files, such as the base's disk."""
    disks = [
        base.source
        for base in (definition.base, *(target.base for target in definition.targets.values()))
        if base.kind == "qcow2"
    ]
    named = [*disks, *definition.swap_files, *([definition.verify] if definition.verify else [])]
    return {definition.path, *(definition.folder / name for name in named)}


def _walk(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root, onerror=_raise_unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = [
            name for name in folders if not _ignored(name) and name not in links and not _is_store(Path(parent, name))
        ]
        yield from (Path(parent, name) for name in (*names, *links) if not _ignored(name))


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store. A bake writes to it, and its keys must not be copied to the build machine."""
    return os.path.lexists(folder / STORE_MARKER)


def _raise_unreadable(error: OSError) -> None:
    raise DefinitionError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _ignored(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)


def _checked_name(path: Path) -> str:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DefinitionError(
            f"{name.encode(errors='surrogateescape')!r}: the file's name is not UTF-8; rename it"
        ) from error
    return name
