# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read how ansible-playbook itself was called, to run child playbooks in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible import constants as C
from ansible.utils.path import unfrackpath

from .playbook import PlaybookRun
from .vault_passwords import VaultPassword, without_vault_settings

_SEPARATORS = {"path": "", "pathspec": ":", "pathlist": ","}  # of several paths in an environment variable, by type


def playbook_run(loader: Any) -> PlaybookRun:
    """Return what runs child playbooks.

    Args:
        loader: the DataLoader of the action, which holds the vault secrets.
    """
    callbacks = tuple(name for name in C.CALLBACKS_ENABLED or () if name)
    return PlaybookRun(tuple(_vault_passwords(loader)), without_vault_settings(_configuration()), callbacks)


def _vault_passwords(loader: Any) -> Iterator[VaultPassword]:
    """The passwords that ansible-playbook read or asked for, in its order."""
    configured = unfrackpath(C.DEFAULT_VAULT_PASSWORD_FILE, follow=False) if C.DEFAULT_VAULT_PASSWORD_FILE else None
    for label, secret in loader._vault.secrets or ():
        password = secret.bytes
        if password:
            yield VaultPassword(str(label), password, configured is not None and _file_of(secret) == configured)


def _file_of(secret: Any) -> str | None:
    """The file that a password was read from; None for one that was typed."""
    return getattr(secret, "filename", None)


def _configuration() -> dict[str, str]:
    """The configuration as environment variables that mean the same in any folder."""
    settings = dict(_absolute_paths())
    settings["ANSIBLE_COLLECTIONS_PATH"] = ":".join(C.COLLECTIONS_PATHS or [])
    if C.CONFIG_FILE:
        settings["ANSIBLE_CONFIG"] = str(C.CONFIG_FILE)
    return settings


def _absolute_paths() -> Iterator[tuple[str, str]]:
    """Every path that the user set in the environment. A relative one starts at the folder of ansible-playbook."""
    for name, setting in C.config.get_configuration_definitions().items():
        separator = _SEPARATORS.get(setting.get("type"))
        if separator is None or not setting.get("env"):
            continue
        value, origin = C.config.get_config_value_and_origin(name)
        kind, _colon, variable = str(origin).partition(":")
        if kind == "env" and value:
            yield variable.strip(), separator.join(map(str, value)) if separator else str(value)
