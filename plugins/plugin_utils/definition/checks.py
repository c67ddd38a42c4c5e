# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a schema cannot say: files that must be there, paths that must not overlap, numbers that must fit together."""
from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ImmutableError
from ..units import count_of
from .document import Document
from .document import Path as Keys

RESERVED = ("/dev", "/proc", "/run", "/sys")
_FILES: tuple[Keys, ...] = (("image", "provision", "playbook"), ("image", "provision", "requirements"), ("image", "verify"))


def check_meaning(document: Document, folder: Path) -> None:
    """Add a problem for everything that is well formed and yet wrong. Parts of a wrong form are passed over."""
    _check_files(document, folder)
    _check_paths(document)
    _check_fleets(document)


def value_at(data: Any, keys: Keys) -> Any:
    """The value there, or None."""
    for key in keys:
        if isinstance(key, int):
            data = data[key] if isinstance(data, list) and key < len(data) else None
        else:
            data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _check_files(document: Document, folder: Path) -> None:
    named = [(keys, value_at(document.data, keys)) for keys in _FILES]
    files = value_at(document.data, ("image", "provision", "vars_files"))
    named += [(("image", "provision", "vars_files", number), name) for number, name in enumerate(files if isinstance(files, list) else [])]
    for keys, name in named:
        if isinstance(name, str) and name:
            problem = _file_problem(folder, name, inside=True)
            if problem:
                document.problem(keys, problem)
    for base in (("image", "base", "qcow2"), *(("targets", target, "base", "qcow2") for target in _targets(document))):
        disk = value_at(document.data, base)
        if isinstance(disk, str) and disk and (problem := _file_problem(folder, disk, inside=False)):
            document.problem(base, problem)


def _file_problem(folder: Path, name: str, *, inside: bool) -> str:
    try:
        path = folder / name
        if inside and not path.resolve().is_relative_to(folder.resolve()):
            return f'"{name}" leaves the definition\'s folder (allowed: a path inside {folder})'
        if not path.exists():
            return f'there is no file "{name}" in {folder}' if inside else f'there is no file "{name}"'
        if not stat.S_ISREG(path.stat().st_mode):
            return f'"{name}" is not a file'
    except (OSError, ValueError) as error:
        return f'"{name}" cannot be read: {error}'
    return ""


def _check_paths(document: Document) -> None:
    volumes = document.data.get("data") if isinstance(document.data, Mapping) else None
    writable = document.data.get("writable") if isinstance(document.data, Mapping) else None
    mounts: dict[str, Keys] = {}
    names: dict[str, Keys] = {}
    for number, volume in enumerate(volumes if isinstance(volumes, list) else []):
        if not isinstance(volume, Mapping):
            continue
        name, mount = volume.get("name"), volume.get("mount")
        if isinstance(name, str) and name in names:
            document.problem(("data", number, "name"), f'"{name}" is already the name of the volume in line {document.line(names[name])}')
        elif isinstance(name, str):
            names[name] = ("data", number, "name")
        _claim(document, ("data", number, "mount"), mount, mounts, "the mount of a volume")
    written: dict[str, Keys] = {}
    for number, path in enumerate(writable if isinstance(writable, list) else []):
        keys: Keys = ("writable", number)
        over = _overlap(path, mounts) if isinstance(path, str) else None
        if over:
            document.problem(keys, f'"{path}" is or touches the data mount "{over}" in line {document.line(mounts[over])}: a path is either data or writable')
        else:
            _claim(document, keys, path, written, "a writable path")


def _claim(document: Document, keys: Keys, path: Any, claimed: dict[str, Keys], what: str) -> None:
    if not isinstance(path, str):
        return
    if not path.startswith("/") or ".." in path.split("/"):
        document.problem(keys, f'"{path}" is not an absolute path (allowed: a path from /, without ..)')
        return
    plain = posixpath.normpath(path)
    if plain in ("/", "//") or any(plain == each or plain.startswith(each + "/") for each in RESERVED):
        document.problem(keys, f'"{path}" belongs to the system (allowed: a path outside /, {", ".join(RESERVED)})')
        return
    over = _overlap(plain, claimed)
    if over:
        document.problem(keys, f'"{path}" is, holds or lies in "{over}", {what} in line {document.line(claimed[over])}')
        return
    claimed[plain] = keys


def _overlap(path: str, claimed: Mapping[str, Keys]) -> str | None:
    plain = posixpath.normpath(path)
    return next((each for each in claimed if each == plain or each.startswith(plain + "/") or plain.startswith(each + "/")), None)


def _targets(document: Document) -> Iterator[str]:
    targets = value_at(document.data, ("targets",))
    yield from (name for name, target in targets.items() if isinstance(target, Mapping)) if isinstance(targets, Mapping) else ()


def _check_fleets(document: Document) -> None:
    top = value_at(document.data, ("fleet",))
    has_data = bool(value_at(document.data, ("data",)))
    places: list[tuple[Keys, Any]] = [(("fleet",), {})]
    places += [(("targets", name, "fleet"), value_at(document.data, ("targets", name, "fleet"))) for name in _targets(document)]
    for keys, own in places:
        if keys != ("fleet",) and not isinstance(own, Mapping):
            continue
        merged = {**(top if isinstance(top, Mapping) else {}), **(own if isinstance(own, Mapping) else {})}
        size, unavailable = merged.get("size", 1), merged.get("unavailable")
        if not isinstance(size, int) or unavailable is None:
            continue
        try:
            count = count_of(unavailable, size, up=False)
        except ImmutableError:
            continue  # the schema has told
        where = (*keys, "unavailable") if isinstance(own, Mapping) and "unavailable" in own or keys == ("fleet",) else keys
        if has_data and count == 0:
            document.problem(where, "0 instances cannot be kept below size where slots own data volumes: a volume is in one place at a time (allowed: from 1)")
        elif count >= size > 0:
            document.problem(where, f"{unavailable} of {size} would leave nothing in service (allowed: less than size)")
