# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the roles beside a definition that its playbook, in a subfolder, uses. They are inputs of the bake, too.

Only references that can be read without running the playbook are followed. The guest reports a role that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import yaml

from .._core.bounded_yaml import BoundedLoader, TooLargeError, read_bounded
from .._core.errors import DefinitionError
from .model import Definition

ROLES = "roles"
_INCLUDED_ROLES = ("include_role", "import_role")
_INCLUDED_TASKS = ("include_tasks", "import_tasks")
_IMPORTED_PLAYBOOKS = ("import_playbook",)
_ROLE_PARTS = ("tasks", "handlers", "meta")
_ARCHIVES = (".tar.gz", ".git")


def outer_roles(definition: Definition) -> list[Path]:
    """Return the folders of the roles that must be sent although they are not in the playbook's folder, sorted.

    Raises DefinitionError for a role that is between the definition's folder and the playbook's, where the guest would
    not search for it.
    """
    folder, playbook = definition.folder, definition.folder / definition.provision.playbook
    between = [parent / ROLES for parent in playbook.parent.parents if parent.is_relative_to(folder)]
    if playbook.parent == folder or not any(roles.is_dir() for roles in between):
        return []
    return _Search(definition, between).run(playbook)


class _Search:
    """Follows the references of a playbook."""

    def __init__(self, definition: Definition, between: list[Path]) -> None:
        self._definition = definition
        self._between = between  # the folders of roles above the playbook's, the definition's last
        self._required = set(_required_roles(definition))
        self._found: set[Path] = set()
        self._queue: list[tuple[Path, Path]] = []  # each file, with the folder of its playbook
        self._seen: set[tuple[Path, Path]] = set()

    def run(self, playbook: Path) -> list[Path]:
        self._add(playbook, playbook.parent)
        while self._queue:
            path, base = self._queue.pop()
            for kind, name in _references(_content(path)):
                if kind == "role":
                    self._add_role(name, base, path)
                elif kind == "playbook":
                    self._add(path.parent / name, (path.parent / name).parent)
                else:
                    self._add(path.parent / name, base)
        return sorted(self._found)

    def _add(self, path: Path, base: Path) -> None:
        if (path, base) not in self._seen and path.is_file():
            self._seen.add((path, base))
            self._queue.append((path, base))

    def _add_role(self, name: str, base: Path, path: Path) -> None:
        role = next((each for each in (base / ROLES / name, base / name) if each.is_dir()), None)
        if role is None and name not in self._required:
            role = self._outer_role(name, path)
        if role is not None:
            for part in _ROLE_PARTS:
                for file in sorted((role / part).rglob("*.y*ml")):
                    self._add(file, base)

    def _outer_role(self, name: str, path: Path) -> Path | None:
        *nearer, last = self._between
        if (last / name).is_dir() and not last.is_symlink():
            self._found.add(last / name)
            return last / name
        found = next((roles / name for roles in nearer if (roles / name).is_dir()), None)
        if found:
            playbooks = (self._definition.folder / self._definition.provision.playbook).parent
            raise DefinitionError(
                f"{path}: the role {name} is in {found}, where the build machine does not search for it "
                f"(allowed: {playbooks / ROLES}, {last}); move it there"
            )
        return None


def _content(path: Path) -> Any:
    """The data of a YAML file, or None. The run in the guest reports any mistake in it."""
    try:
        return yaml.load(read_bounded(path).decode(), Loader=_AnyTag)  # noqa: S506  a safe loader
    except TooLargeError as error:
        raise DefinitionError(f"{path}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError):
        return None


class _AnyTag(BoundedLoader):
    """Reads each tagged value, such as ``!vault``, as None."""


def _none(_loader: yaml.SafeLoader, _suffix: str, _node: yaml.Node) -> None:
    return None


_AnyTag.add_multi_constructor("!", _none)


def _references(data: Any) -> Iterator[tuple[str, str]]:
    """Each role, playbook and file of tasks that plays, tasks or a role's dependencies name, with its kind."""
    if isinstance(data, list):
        for part in data:
            yield from _references(part)
    if not isinstance(data, dict):
        return
    if "hosts" in data:
        yield from (("role", name) for name in _role_names(data.get(ROLES)))
    yield from (("role", name) for name in _role_names(data.get("dependencies")))
    for key, value in data.items():
        action = str(key).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
        if action in _INCLUDED_ROLES:
            yield from (("role", name) for name in _role_names([value]))
        elif action in _IMPORTED_PLAYBOOKS and _is_path(value):
            yield "playbook", value
        elif action in _INCLUDED_TASKS:
            name = value.get("file") if isinstance(value, dict) else value
            if _is_path(name):
                yield "tasks", name
        elif isinstance(value, list):  # tasks, a block
            yield from _references(value)


def _role_names(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("role", entry.get("name")) if isinstance(entry, dict) else entry
        name = name.removeprefix("name=") if isinstance(name, str) else ""
        if name and "/" not in name and name not in (".", "..") and "{{" not in name:
            yield name


def _is_path(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and "{{" not in value and not PurePosixPath(value).is_absolute()


def _required_roles(definition: Definition) -> Iterator[str]:
    """The names of the roles that ansible-galaxy installs for the bake."""
    if not definition.provision.requirements:
        return
    content = _content(definition.folder / definition.provision.requirements)
    entries = content.get(ROLES) if isinstance(content, dict) else content
    for entry in entries if isinstance(entries, list) else ():
        given = entry if isinstance(entry, dict) else {"src": entry}
        name = given.get("name") or given.get("role") or given.get("src")
        if isinstance(name, str):
            for ending in _ARCHIVES:
                name = name.removesuffix(ending)
            yield name if given.get("name") else PurePosixPath(name.partition(",")[0]).name
