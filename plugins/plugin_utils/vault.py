# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decrypt with the vault secrets that ansible-playbook was given."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib

from .errors import BakeError


def decryptor(loader: Any) -> tuple[Callable[[str], str], Callable[[str], Any]]:
    """Two functions: ciphertext to text, and the path of a YAML file (vaulted wholly, by value or not at all) to its data.

    Args:
        loader: ansible's DataLoader of the running task. It offers no public way to its secrets.
    """

    def decrypt(ciphertext: str) -> str:
        try:
            return str(VaultLib(secrets=loader._vault.secrets).decrypt(ciphertext.strip() + "\n").decode())
        except AnsibleError as error:
            raise BakeError(f"cannot decrypt a vaulted value of the definition: {error} (give the vault's password to ansible-playbook)") from error

    def load_file(path: str) -> Any:
        try:
            return _plain(loader.load_from_file(path, cache="none"))
        except AnsibleError as error:
            raise BakeError(f"cannot read {path}: {error}") from error

    return decrypt, load_file


def _plain(value: Any) -> Any:
    """Copies without Ansible's own types: vaulted values decrypt when they are turned into text."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)
