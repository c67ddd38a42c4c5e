# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what a schema cannot: files that must exist, paths that must not overlap, values that depend on each other."""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ....module_utils._seal_paths import RESERVED_PATHS, SYSTEM_WRITABLE, hides_system, is_reserved
from ..document import Document, KeyPath, format_path, target_names, value_at
from ..fleet import fleet_files
from .container import check_containers
from .fleet import check_fleets
from .health import check_healths
from .image_sources import check_image_sources
from .target import check_targets
from .text import check_texts

_FILES: tuple[KeyPath, ...] = (
    ("image", "provision", "playbook"),
    ("image", "provision", "requirements"),
    ("image", "verify"),
)
_FILE_INSIDE = "the path of a file inside the definition's folder"
_FILES_OF_BASES = {"qcow2": "the path of a qcow2 disk", "archive": "the path of a tar archive"}


def check_definition(document: Document, folder: Path) -> None:
    """Add a problem for everything that matches the schema and is still wrong.

    Values that do not match the schema are ignored: ``check_schema`` reports them. ``folder`` contains the definition.
    """
    _check_files(document, folder)
    _check_paths(document)
    check_texts(document)
    check_fleets(document)
    check_targets(document)
    check_containers(document)
    check_image_sources(document)
    check_healths(document, folder)


def _check_files(document: Document, folder: Path) -> None:
    playbook = value_at(document.data, _FILES[0])
    of_fleets = list(fleet_files(document.data))
    for keys, name in ((_FILES[2], value_at(document.data, _FILES[2])), *of_fleets):
        if (
            isinstance(name, str)
            and isinstance(playbook, str)
            and posixpath.normpath(name) == posixpath.normpath(playbook)
        ):
            document.add_problem(
                keys, f"{json.dumps(name)} is also the provision playbook (allowed: a separate {_file_kind(keys)})"
            )
    files = [*((keys, value_at(document.data, keys)) for keys in _FILES), *of_fleets]
    vars_files = value_at(document.data, ("image", "provision", "vars_files"))
    files += [
        (("image", "provision", "vars_files", number), name)
        for number, name in enumerate(vars_files if isinstance(vars_files, list) else [])
    ]
    for keys, name in files:
        if isinstance(name, str) and name:
            problem = _file_problem(folder, name, inside=True, allowed=_FILE_INSIDE)
            if not problem and _file_kind(keys) == "program" and not os.access(folder / name, os.X_OK):
                problem = f"{json.dumps(name)} is not executable; run chmod +x on it"
            if problem:
                document.add_problem(keys, problem)
    _check_bases(document, folder)


def _check_bases(document: Document, folder: Path) -> None:
    places = (("image", "base"), *(("targets", target, "base") for target in target_names(document.data)))
    for place in places:
        for kind, allowed in _FILES_OF_BASES.items():
            name = value_at(document.data, (*place, kind))
            if isinstance(name, str) and name and (problem := _file_problem(folder, name, allowed=allowed)):
                document.add_problem((*place, kind), problem)


def _file_kind(keys: KeyPath) -> str:
    return "program" if "command" in keys else "playbook"


def _file_problem(folder: Path, name: str, *, allowed: str, inside: bool = False) -> str:
    """Return the problem of a file that must exist, or "". ``inside``: whether it must be in ``folder``."""
    quoted = json.dumps(name)
    try:
        path = folder / name
        if inside and (name.startswith("/") or ".." in Path(name).parts):
            return f"{quoted} is outside the definition's folder (allowed: {allowed})"
        if inside and not path.resolve().is_relative_to(folder.resolve()):
            return f"{quoted} leads outside the definition's folder through a symbolic link (allowed: {allowed})"
        if not path.exists():
            return f"there is no file {quoted} (allowed: {allowed})"
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{quoted} is not a file (allowed: {allowed})"
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long, a loop of links
        return f"{quoted} cannot be read: {getattr(error, 'strerror', None) or error} (allowed: {allowed})"
    return ""


def _check_paths(document: Document) -> None:
    names: dict[str, str] = {}
    mounts: dict[str, str] = {}
    for keys, name in _texts_in(document, "data", "name"):
        if names.setdefault(name, format_path(keys[:-1])) != format_path(keys[:-1]):
            document.add_problem(
                keys,
                f"{json.dumps(name)} is already the name of {names[name]} (allowed: a unique name for each volume)",
            )
    for keys, mount in _texts_in(document, "data", "mount"):
        _check_host_path(document, keys, mount)
        near = _overlapping(mount, mounts)
        if near == mount:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} is already the mount of {mounts[near]} (allowed: a unique mount for each volume)",
            )
        elif near:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} and {json.dumps(near)} of {mounts[near]} overlap "
                "(allowed: mounts that do not contain each other)",
            )
        if mount in SYSTEM_WRITABLE:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} is emptied at every boot of a sealed host (allowed: a folder inside it, or "
                f"another path)",
            )
        mounts.setdefault(mount, format_path(keys[:-1]))
    written: dict[str, str] = {}
    for keys, path in _texts_in(document, "writable"):
        _check_host_path(document, keys, path)
        around = next((mount for mount in mounts if path == mount or path.startswith(f"{mount}/")), None)
        if around == path:
            document.add_problem(
                keys,
                f"{json.dumps(path)} is also the mount of {mounts[path]} (allowed: a path that is either data or "
                f"writable)",
            )
        elif around:
            document.add_problem(
                keys,
                f"{json.dumps(path)} is inside the mount of {mounts[around]}, {around}, "
                "and is writable anyway; remove this entry",
            )
        elif path in written:
            document.add_problem(keys, f"{json.dumps(path)} is listed twice (allowed: each path once)")
        written[path] = format_path(keys)


def _texts_in(document: Document, *keys: str) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path and value of each text in a list.

    The list is at ``keys[0]``. The text is at ``keys[1]`` of each item, or, without that key, the item itself.
    """
    items = value_at(document.data, keys[:1])
    for number in range(len(items) if isinstance(items, list) else 0):
        place: KeyPath = (keys[0], number, *keys[1:])
        found = value_at(document.data, place)
        if isinstance(found, str):
            yield place, found


def _check_host_path(document: Document, keys: KeyPath, path: str) -> None:
    if is_reserved(path):
        document.add_problem(
            keys, f"{json.dumps(path)} belongs to the system (allowed: a path outside {', '.join(RESERVED_PATHS)})"
        )
    elif hides_system(path):
        document.add_problem(
            keys, f"{json.dumps(path)} would hide the system itself (allowed: a folder of the service)"
        )


def _overlapping(path: str, claimed: Mapping[str, str]) -> str | None:
    return next(
        (each for each in claimed if each == path or each.startswith(f"{path}/") or path.startswith(f"{each}/")), None
    )
