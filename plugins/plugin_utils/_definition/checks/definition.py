# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a schema cannot say: files that must be there, paths that must not overlap, numbers that must fit together."""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ....module_utils._seal import SYSTEM_WRITABLE
from ..document import Document, KeyPath, format_path, target_names, value_at
from ..fleet import fleet_files
from .fleet import check_fleets
from .target import check_targets

RESERVED_PATHS = ("/dev", "/proc", "/run", "/sys")  # each boot mounts these itself
SYSTEM_PATHS = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/sbin", "/usr")  # covered, the host would not boot
_FILES: tuple[KeyPath, ...] = (
    ("image", "provision", "playbook"),
    ("image", "provision", "requirements"),
    ("image", "verify"),
)


def check_definition(document: Document, folder: Path) -> None:
    """Add a problem for everything that is well formed and yet wrong. Parts of a wrong form are passed over."""
    _check_files(document, folder)
    _check_paths(document)
    check_fleets(document)
    check_targets(document)


def _check_files(document: Document, folder: Path) -> None:
    playbook = value_at(document.data, _FILES[0])
    beside = list(fleet_files(document.data))
    for keys, name in ((_FILES[2], value_at(document.data, _FILES[2])), *beside):
        if (
            isinstance(name, str)
            and isinstance(playbook, str)
            and posixpath.normpath(name) == posixpath.normpath(playbook)
        ):
            document.add_problem(
                keys, f"{json.dumps(name)} is the provision playbook itself (allowed: a {_file_kind(keys)} of its own)"
            )
    named = [*((keys, value_at(document.data, keys)) for keys in _FILES), *beside]
    files = value_at(document.data, ("image", "provision", "vars_files"))
    named += [
        (("image", "provision", "vars_files", number), name)
        for number, name in enumerate(files if isinstance(files, list) else [])
    ]
    for keys, name in named:
        if isinstance(name, str) and name:
            problem = _file_problem(folder, name, inside=True)
            if not problem and _file_kind(keys) == "program" and not os.access(folder / name, os.X_OK):
                problem = f"{json.dumps(name)} is not executable (allowed: a program; chmod +x makes a script one)"
            if problem:
                document.add_problem(keys, problem)
    for base in (
        ("image", "base", "qcow2"),
        *(("targets", target, "base", "qcow2") for target in target_names(document.data)),
    ):
        disk = value_at(document.data, base)
        if isinstance(disk, str) and disk and (problem := _file_problem(folder, disk, inside=False)):
            document.add_problem(base, problem)


def _file_kind(keys: KeyPath) -> str:
    return "program" if "command" in keys else "playbook"


def _file_problem(folder: Path, name: str, *, inside: bool) -> str:
    allowed = "the path of a file inside the definition's folder" if inside else "the path of a qcow2 disk"
    quoted = json.dumps(name)
    try:
        path = folder / name
        if inside and (name.startswith("/") or ".." in Path(name).parts):
            return f"{quoted} leaves the definition's folder (allowed: {allowed})"
        if inside and not path.resolve().is_relative_to(folder.resolve()):
            return f"{quoted} leaves the definition's folder by a symbolic link (allowed: {allowed})"
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
    for keys, name in _texts(document, "data", "name"):
        if names.setdefault(name, format_path(keys[:-1])) != format_path(keys[:-1]):
            document.add_problem(
                keys,
                f"{json.dumps(name)} is already the name of {names[name]} (allowed: a name of its own for each volume)",
            )
    for keys, mount in _texts(document, "data", "mount"):
        _check_host_path(document, keys, mount)
        near = _overlapping(mount, mounts)
        if near == mount:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} is already the mount of {mounts[near]} (allowed: a mount of its own for each volume)",
            )
        elif near:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} and {json.dumps(near)} of {mounts[near]} lie one in the other (allowed: mounts beside each other)",
            )
        if mount in SYSTEM_WRITABLE:
            document.add_problem(
                keys,
                f"{json.dumps(mount)} is emptied at every boot of a sealed host (allowed: a folder in it, or elsewhere)",
            )
        mounts.setdefault(mount, format_path(keys[:-1]))
    written: dict[str, str] = {}
    for keys, path in _texts(document, "writable"):
        _check_host_path(document, keys, path)
        around = next((mount for mount in mounts if path == mount or path.startswith(f"{mount}/")), None)
        if around == path:
            document.add_problem(
                keys,
                f"{json.dumps(path)} is also the mount of {mounts[path]} (allowed: a path is either data or writable)",
            )
        elif around:
            document.add_problem(
                keys,
                f"{json.dumps(path)} lies in the mount of {mounts[around]}, {around}, and can be written to anyway (allowed: leave it out)",
            )
        elif path in written:
            document.add_problem(keys, f"{json.dumps(path)} is named twice (allowed: each path once)")
        written[path] = format_path(keys)


def _texts(document: Document, *keys: str) -> Iterator[tuple[KeyPath, str]]:
    """What stands at ``keys[0]``, a list, in each of its items: under ``keys[1]``, where it is given."""
    items = value_at(document.data, keys[:1])
    for number in range(len(items) if isinstance(items, list) else 0):
        place: KeyPath = (keys[0], number, *keys[1:])
        found = value_at(document.data, place)
        if isinstance(found, str):
            yield place, found


def _check_host_path(document: Document, keys: KeyPath, path: str) -> None:
    plain = posixpath.normpath(path)
    if any(plain == each or plain.startswith(f"{each}/") for each in RESERVED_PATHS):
        document.add_problem(
            keys, f"{json.dumps(path)} belongs to the system (allowed: a path outside {', '.join(RESERVED_PATHS)})"
        )
    elif plain in ("/", "//", *SYSTEM_PATHS):
        document.add_problem(
            keys, f"{json.dumps(path)} would cover the system itself (allowed: a folder of the service)"
        )


def _overlapping(path: str, claimed: Mapping[str, str]) -> str | None:
    return next(
        (each for each in claimed if each == path or each.startswith(f"{path}/") or path.startswith(f"{each}/")), None
    )
