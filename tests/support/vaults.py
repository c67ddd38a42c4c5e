# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A vault password, a loader that knows it, and files that are encrypted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing import vault
from ansible.parsing.dataloader import DataLoader

SECRETS = [("default", vault.VaultSecret(b"a password"))]


def vault_loader(monkeypatch: pytest.MonkeyPatch) -> DataLoader:
    """A loader as ansible-playbook prepares it, in all supported versions."""
    loader = DataLoader()
    loader.set_vault_secrets(SECRETS)
    context = getattr(vault, "VaultSecretsContext", None)
    if context is not None:
        monkeypatch.setattr(context, "_current", context(secrets=SECRETS), raising=False)
        monkeypatch.setattr(context, "current", classmethod(lambda cls, optional=False: context(secrets=SECRETS)))
    return loader


def encrypt_file(path: Path, label: str, password: str) -> None:
    """Encrypt a file as ``ansible-vault encrypt`` does, without starting it.

    Args:
        label: the vault id.
    """
    path.write_bytes(vault.VaultLib().encrypt(path.read_bytes(), vault.VaultSecret(password.encode()), label))
