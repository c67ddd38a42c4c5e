# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The digest: a checksum over every declared input of a bake. It does not depend on folder, order or time stamps."""
from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DefinitionError
from .model import Definition, Target, Vaulted

# What version control, editors and interpreters leave lying around is no input.
IGNORED = (".git", ".hg", ".svn", ".cache", ".molecule", "__pycache__", "*.pyc", ".DS_Store", "*~", ".*.sw?", "#*#", ".#*", "*.bak", "*.orig")


def bake_inputs(definition: Definition, target: Target, base: Mapping[str, Any]) -> dict[str, Any]:
    """Every input of the bake as plain data (JSON types).

    Args:
        base: the resolved base; see ``bake.base.resolve_base``.

    Raises DefinitionError for a file that cannot be read or a link that leaves the folder.
    """
    provision = definition.provision
    return {
        "schema": 1,
        "service": definition.service,
        "version": definition.version,
        "image": {
            "playbook": provision.playbook,
            "requirements": provision.requirements,
            "vars": _plain(provision.vars),
            "vars_files": list(provision.vars_files),
            "ansible_core": provision.ansible_core,
        },
        "data": {volume.name: volume.mount for volume in definition.data},
        "writable": sorted(definition.writable),
        "seal": {"shell": definition.shell},
        "base": dict(base),
        "tree": {path: _entry(definition.folder, path) for path in _tree_paths(definition)},
    }


def digest_of(inputs: Mapping[str, Any]) -> str:
    """``sha256:<hex>`` over the inputs as canonical JSON."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def tree_files(definition: Definition) -> list[Path]:
    """The files of the playbook's tree, relative to the definition's folder, sorted. The bake ships exactly these."""
    return [Path(path) for path in _tree_paths(definition)]


def verify_digest(definition: Definition, target: Target) -> str:
    """Of what an image is tested by: a change asks for a new verification, not for a bake."""
    verify = definition.verify
    health = target.health
    return digest_of(
        {
            "playbook": {verify: _entry(definition.folder, verify)} if verify else {},
            "http": [health.http.port, health.http.path, list(health.http.status)] if health.http else None,
            "tcp": health.tcp.port if health.tcp else None,
            "data": [[volume.name, volume.mount] for volume in definition.data],
        }
    )


def _tree_paths(definition: Definition) -> list[str]:
    root = (definition.folder / definition.provision.playbook).parent
    apart = {definition.path.resolve(), *([(definition.folder / definition.verify).resolve()] if definition.verify else [])}
    found = {path for path in _walk(root) if path.resolve() not in apart}
    for named in (definition.provision.requirements, *definition.provision.vars_files):
        if named:
            found.add(definition.folder / named)
    return sorted(Path(os.path.normpath(path)).relative_to(definition.folder).as_posix() for path in found)


def _walk(root: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _ignored(name) and not os.path.islink(os.path.join(parent, name))]
        links = [name for name in os.listdir(parent) if os.path.islink(os.path.join(parent, name)) and os.path.isdir(os.path.join(parent, name))]
        found += [Path(parent, name) for name in {*names, *links} if not _ignored(name)]
    return found


def _ignored(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)


def _entry(folder: Path, relative: str) -> dict[str, Any]:
    path = folder / relative
    try:
        if path.is_symlink():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DefinitionError(f"{path}: the link leaves the definition's folder")
            return {"link": os.readlink(path)}
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "executable": os.access(path, os.X_OK)}
    except OSError as error:
        raise DefinitionError(f"{path}: cannot be read: {error.strerror}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Vaulted):
        return {"vaulted": value.ciphertext}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
