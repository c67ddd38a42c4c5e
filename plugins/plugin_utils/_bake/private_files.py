# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuses to send vault passwords and private keys to the build machine, and lists what is sent."""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context as cli

from .._core.errors import BakeError
from .._core.files import open_regular
from .._definition.ignore import IGNORE_FILE
from .._definition.model import Definition
from .._definition.tree import left_out, tree_files

_CONFIG_FILE = "ansible.cfg"
_MAX_CONFIGURATION = 1024**2  # bytes
# By the name of the setting in ansible.cfg: the name that Ansible's code has for it, and the section.
_SETTINGS = {
    "vault_password_file": ("DEFAULT_VAULT_PASSWORD_FILE", "defaults"),
    "vault_identity_list": ("DEFAULT_VAULT_IDENTITY_LIST", "defaults"),
    "private_key_file": ("DEFAULT_PRIVATE_KEY_FILE", "defaults"),
    "connection_password_file": ("CONNECTION_PASSWORD_FILE", "defaults"),
    "become_password_file": ("BECOME_PASSWORD_FILE", "privilege_escalation"),
}
_ARGUMENTS = {
    "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file",
    "private_key_file": "--private-key",
    "connection_password_file": "--connection-password-file",
    "become_password_file": "--become-password-file",
}
_VARIABLES = ("ansible_ssh_private_key_file", "ansible_private_key_file")


def payload_summary(definition: Definition, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bake sends of the definition's folder, as plain data.

    The keys are ``files`` (list of paths), ``left_out`` and ``refused`` (lists of ``{"path", "reason"}``). Paths are
    relative to the definition's folder. Nothing is sent while ``refused`` has entries.

    Args:
        variables: those of the task.
    """
    files = tree_files(definition)
    refused = _refused_files(definition, files, variables)
    return {
        "files": [path.as_posix() for path in files if path.as_posix() not in refused],
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out(definition).items()],
        "refused": [{"path": path, "reason": reason} for path, reason in refused.items()],
    }


def check_payload(definition: Definition, variables: Mapping[str, Any]) -> None:
    """Raise BakeError if the payload would contain a file that Ansible's configuration names as a secret."""
    refused = _refused_files(definition, tree_files(definition), variables)
    if refused:
        found = "; ".join(f"{path} ({reason})" for path, reason in refused.items())
        raise BakeError(
            f"the build machine must not get the user's passwords and private keys, but these files are in the folder "
            f"of the provision playbook: {found}. Add them to {definition.folder / IGNORE_FILE}, or move them elsewhere"
        )


def _refused_files(definition: Definition, files: Sequence[Path], variables: Mapping[str, Any]) -> dict[str, str]:
    """Return which files of the payload are named as a vault password or private key, with what names them."""
    named: dict[tuple[int, int], str] = {}
    for path, source in _named_files(definition, variables):
        identity = _identity(path, follow=True)
        if identity:
            named.setdefault(identity, source)
    refused = {}
    for relative in files:
        identity = _identity(definition.folder / relative, follow=False)
        if identity in named:
            refused[relative.as_posix()] = named[identity]
    return refused


def _named_files(definition: Definition, variables: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for setting, (name, _section) in _SETTINGS.items():
        value, origin = C.config.get_config_value_and_origin(name)
        yield from ((path, f"{setting} of {origin}") for path in _paths(value, Path.cwd()))
    for argument, flag in _ARGUMENTS.items():
        yield from ((path, f"the option {flag}") for path in _paths(cli.CLIARGS.get(argument), Path.cwd()))
    for name in _VARIABLES:
        yield from ((path, f"the variable {name}") for path in _paths(variables.get(name), Path.cwd()))
    for folder in dict.fromkeys([definition.folder, (definition.folder / definition.provision.playbook).parent]):
        yield from _of_configuration(folder / _CONFIG_FILE)


def _of_configuration(path: Path) -> Iterator[tuple[Path, str]]:
    """What an ``ansible.cfg`` names, although this run may use another one."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    try:
        with open_regular(path) as file:
            parser.read_string(file.read(_MAX_CONFIGURATION).decode())
    except (configparser.Error, OSError, ValueError):  # Ansible reports the mistake if it reads the file
        return
    for setting, (_name, section) in _SETTINGS.items():
        value = parser.get(section, setting, fallback=None)
        yield from ((found, f"{setting} of {path}") for found in _paths(value, path.parent))


def _paths(value: Any, folder: Path) -> Iterator[Path]:
    """The files that a value names: a path, or a list of paths with vault ids such as ``prod@path``."""
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    for item in items:
        text = str(item).strip()
        for name in dict.fromkeys([text, text.rpartition("@")[2]]):
            if name:
                yield folder / os.path.expandvars(os.path.expanduser(name))


def _identity(path: Path, *, follow: bool) -> tuple[int, int] | None:
    """Device and inode of a regular file, or None. A link is sent as a link, so one in the payload is not followed."""
    try:
        status = os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
