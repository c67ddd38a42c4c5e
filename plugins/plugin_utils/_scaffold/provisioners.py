# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take over the provisioners of a template: what a task does the same way, and what one has to write.

The commands themselves are not repeated in the result or in comments, because they can contain secrets.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from .draft import PROVISION, Draft
from .packer_template import Component, Template, resolved
from .service import PACKAGE
from .yaml_text import has_template, outside

_PATH = re.compile(r"(?!-)[A-Za-z0-9._@+/-]+")
_TEMPORARY = ("/tmp", "/var/tmp", "/run")  # noqa: S108  paths in an image
_APT = ("apt-get", "apt")
_HARMLESS_FLAGS = {"-y", "-q", "-qq", "--yes", "--assume-yes", "--no-install-recommends", "--quiet"}
# By type of the provisioner: what replaces it.
_ADVICE = {
    "shell": "move its commands into tasks (ansible.builtin.command), or its script into files/ and a task with "
    "ansible.builtin.script; sudo is not needed",
    "shell-local": "it runs on the controller; move it to a playbook of your own that runs before the bake",
    "file": "copy the file into files/ and write a task with ansible.builtin.copy",
    "ansible": "copy its playbook into the definition's folder and import it",
    "ansible-local": "copy its playbook into the definition's folder and import it",
    "breakpoint": "it is for debugging; leave it out",
    "windows-shell": "hosts are Linux",
    "powershell": "hosts are Linux",
}


def take_provisioners(draft: Draft, template: Template, builder: Component | None) -> None:
    """Add tasks for the provisioners that apply to the builder, and a step for each that someone has to write."""
    for number, provisioner in enumerate(template.provisioners, start=1):
        what = f"provisioner {number} ({provisioner.kind or 'without a type'})"
        if not _applies(provisioner, builder):
            draft.leave(what, "it is for other builds (only, except)")
        elif not _taken(draft, template, provisioner, what):
            advice = _ADVICE.get(provisioner.kind, "write tasks that do the same")
            draft.leave(what, advice)
            draft.steps.append(outside(f"{what}, {_size(provisioner)}: {advice}"))


def _applies(provisioner: Component, builder: Component | None) -> bool:
    names = {str(builder), builder.name} if builder else set()
    only, but = provisioner.values.get("only"), provisioner.values.get("except")
    if isinstance(only, list) and names:
        return bool(names & set(map(str, only)))
    return not (isinstance(but, list) and names & set(map(str, but)))


def _size(provisioner: Component) -> str:
    inline, scripts = provisioner.values.get("inline"), provisioner.values.get("scripts")
    if isinstance(inline, list):
        return f"commands: {len(inline)}"
    if isinstance(scripts, list):
        return f"scripts: {len(scripts)}"
    return "see the template"


def _taken(draft: Draft, template: Template, provisioner: Component, what: str) -> bool:
    if provisioner.unread and set(provisioner.unread) - {"execute_command"}:
        return False
    if provisioner.kind == "shell":
        return _take_packages(draft, provisioner, what)
    if provisioner.kind == "file":
        return _take_file(draft, template, provisioner, what)
    if provisioner.kind in ("ansible", "ansible-local"):
        return _take_playbook(draft, template, provisioner, what)
    return False


def _take_packages(draft: Draft, provisioner: Component, what: str) -> bool:
    """Commands that only install Debian packages become one task."""
    inline = provisioner.values.get("inline")
    if not isinstance(inline, list) or {"script", "scripts"} & set(provisioner.values):
        return False
    packages: list[str] = []
    for command in inline:
        found = _packages_of(str(command))
        if found is None:
            return False
        packages += found
    if not packages:
        return False
    draft.packages += packages
    draft.moved(f"{what}, packages", PROVISION)
    return True


def _packages_of(command: str) -> list[str] | None:
    """The packages that a command installs, [] if it only updates apt's lists, or None if it does something else."""
    packages: list[str] = []
    for part in re.split(r"&&|;|\n", command):
        try:
            words = shlex.split(part)
        except ValueError:
            return None
        while words and (words[0] in ("sudo", "-E", "export") or words[0].startswith("DEBIAN_FRONTEND=")):
            words = words[1:]
        if not words:
            continue
        flags = {word for word in words[1:] if word.startswith("-")}
        names = [word for word in words[1:] if not word.startswith("-")]
        if words[0] not in _APT or flags - _HARMLESS_FLAGS or not names:
            return None
        if names[0] == "install" and all(PACKAGE.fullmatch(name) for name in names[1:]):
            packages += names[1:]
        elif names != ["update"]:
            return None
    return packages


def _take_file(draft: Draft, template: Template, provisioner: Component, what: str) -> bool:
    source, destination = provisioner.values.get("source"), provisioner.values.get("destination")
    path = _inside(draft, template, source)
    if (
        path is None
        or not isinstance(destination, str)
        or not destination.startswith("/")
        or not _PATH.fullmatch(destination)
        or destination.startswith(_TEMPORARY)
        or provisioner.values.get("direction") == "download"
    ):
        return False
    task = {"src": path, "dest": destination, "owner": "root", "group": "root", "mode": "preserve"}
    draft.tasks.append({"name": f"Install {destination}", "ansible.builtin.copy": task})
    draft.moved(what, PROVISION, "check its owner and mode")
    return True


def _take_playbook(draft: Draft, template: Template, provisioner: Component, what: str) -> bool:
    path = _inside(draft, template, provisioner.values.get("playbook_file"))
    if path is None or {"extra_arguments", "galaxy_file", "inventory_file"} & set(provisioner.values):
        return False
    draft.imports.append(path)
    draft.moved(what, PROVISION, "check that its plays have hosts: all, because the build machine is the only host")
    return True


def _inside(draft: Draft, template: Template, name: Any) -> str | None:
    """The path of an existing file, relative to the definition's folder, or None if it is elsewhere."""
    if not isinstance(name, str) or has_template(name):
        return None
    path = resolved(template.folder / name)
    try:
        relative = path.relative_to(Path(draft.folder).resolve()).as_posix() if path and path.is_file() else ""
    except (OSError, ValueError):
        return None
    return relative if _PATH.fullmatch(relative) else None
