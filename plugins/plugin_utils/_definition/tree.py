# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that are inputs of a bake, and the parts of each that the digest covers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from .._core.errors import DefinitionError
from .._core.files import STORE_MARKER, file_sha256
from .ignore import IgnoreRules
from .model import Definition
from .roles import ROLES, outer_roles


def tree_files(definition: Definition) -> list[Path]:
    """Return the files and links below the playbook's folder, and the other files that the definition names.

    The paths are relative to the definition's folder and sorted. The bake copies exactly these files. ``left_out``
    lists the others.

    Raises DefinitionError if a folder cannot be read, or for a path that is neither a file nor a link.
    """
    found = {path for path, reason in _walk(definition) if reason is None} - _separate_files(definition)
    found |= _named_files(definition)
    for path in found:
        _check_kind(path)
    return sorted(path.relative_to(definition.folder) for path in found)


def left_out(definition: Definition) -> dict[str, str]:
    """Return why files and folders below the playbook's folder are not sent, by their path.

    The path of a folder ends in a slash. Raises DefinitionError.
    """
    sent = _named_files(definition)
    found = {_relative(path, definition): reason for path, reason in _walk(definition) if reason and path not in sent}
    return dict(sorted(found.items()))


def _relative(path: Path, definition: Definition) -> str:
    slash = "/" if path.is_dir() and not path.is_symlink() else ""
    return path.relative_to(definition.folder).as_posix() + slash


def tree_entries(definition: Definition) -> dict[str, dict[str, Any]]:
    """Return the entry of each path: ``{"sha256", "executable"}`` of a file, ``{"link"}`` of a link.

    Raises DefinitionError if a path cannot be read, is neither a file nor a link, or is a link that leads outside the
    playbook's folder.
    """
    folder, playbooks = definition.folder, (definition.folder / definition.provision.playbook).parent
    roles = folder / ROLES
    return {
        _checked_name(path): file_entry(
            folder / path, roles if _is_outer(folder / path, roles, playbooks) else playbooks
        )
        for path in tree_files(definition)
    }


def _is_outer(path: Path, roles: Path, playbooks: Path) -> bool:
    """Whether a file belongs to a role that is not in the playbook's folder."""
    return path.is_relative_to(roles) and not path.is_relative_to(playbooks) and playbooks != roles.parent


def _check_kind(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return  # reported where its content is needed
    except OSError as error:
        _unreadable(error)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise DefinitionError(f"{path}: is neither a file, a folder nor a link, and cannot be baked; move it elsewhere")


def file_entry(path: Path, root: Path) -> dict[str, Any]:
    """Return the entry of one file or link, which must stay inside ``root``. Raises DefinitionError."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return {"link": _checked_link(path, root)}
        _check_kind(path)
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


def _named_files(definition: Definition) -> set[Path]:
    """Return the inputs that the definition names. They are sent whatever the rules say."""
    provision = definition.provision
    names = (provision.playbook, provision.requirements, *provision.vars_files)
    return {definition.folder / name for name in names if name}


def _separate_files(definition: Definition) -> set[Path]:
    """Return files that can be in the playbook's folder but are not inputs as files, such as the base's disk."""
    disks = [
        base.source
        for base in (definition.base, *(target.base for target in definition.targets.values()))
        if base.kind == "qcow2"
    ]
    named = [*disks, *definition.swap_files, *([definition.verify] if definition.verify else [])]
    return {definition.path, *(definition.folder / name for name in named)}


def _walk(definition: Definition) -> Iterator[tuple[Path, str | None]]:
    """Each file and link below the playbook's folder, and each folder that is left out, with the reason if it is."""
    rules = IgnoreRules(definition.folder)
    root = (definition.folder / definition.provision.playbook).parent
    if _is_store(root):
        raise DefinitionError(f"{root}, the folder of the provision playbook, is a store; keep the store elsewhere")
    for folder in (root, *outer_roles(definition)):
        yield from _walk_folder(folder, rules)


def _walk_folder(root: Path, rules: IgnoreRules) -> Iterator[tuple[Path, str | None]]:
    for name, folders, names in os.walk(root, onerror=_unreadable):
        parent = Path(name)
        links = [each for each in folders if (parent / each).is_symlink()]
        reasons = {each: _folder_reason(parent / each, rules) for each in folders if each not in links}
        folders[:] = [each for each, reason in reasons.items() if reason is None]
        yield from ((parent / each, reason) for each, reason in reasons.items() if reason)
        try:
            yield from ((parent / each, rules.reason(parent / each)) for each in (*names, *links))
        except OSError as error:
            _unreadable(error)


def _folder_reason(folder: Path, rules: IgnoreRules) -> str | None:
    return "a store" if _is_store(folder) else rules.reason(folder, is_folder=True)


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store. A bake writes to it, and its keys must not be copied to the build machine."""
    return os.path.lexists(folder / STORE_MARKER)


def _unreadable(error: OSError) -> NoReturn:
    raise DefinitionError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _checked_name(path: Path) -> str:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DefinitionError(
            f"{name.encode(errors='surrogateescape')!r}: the file's name is not UTF-8; rename it"
        ) from error
    return name
