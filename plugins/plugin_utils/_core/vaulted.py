# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vaulted values among the options and variables of a task, with every ansible-core.

Before 2.19, such a value is an object that decrypts itself when it becomes text. Later, a task gets text that remembers
its ciphertext.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any


def is_vaulted(value: Any) -> bool:
    """Whether a value is vaulted, or contains a value that is."""
    if isinstance(value, Mapping):
        return any(map(is_vaulted, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(is_vaulted, value))
    return is_encrypted(value) or _ciphertext_of()(value) is not None


def decrypted(value: Any) -> Any:
    """Return a value as plain data (JSON types). Raises AnsibleError if it cannot be decrypted."""
    if isinstance(value, Mapping):
        return {str(key): decrypted(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [decrypted(part) for part in value]
    return str(value) if is_encrypted(value) else value


def is_encrypted(value: Any) -> bool:
    """Whether a value is an object that decrypts itself when it becomes text."""
    return hasattr(value, "_ciphertext")  # in all versions of Ansible


def load_variables(loader: Any, path: str) -> Any:
    """Return the content of a file of variables, loaded by Ansible's DataLoader. Raises Ansible's errors."""
    if "trusted_as_template" not in signature(loader.load_from_file).parameters:  # before ansible-core 2.19
        return loader.load_from_file(path)
    return loader.load_from_file(path, cache="none", trusted_as_template=True)


def is_unsafe(text: str) -> bool:
    """Whether a text that ``load_variables`` returned is tagged ``!unsafe``, so that it is no template."""
    trusted = _trusted()
    return not trusted(text) if trusted else bool(getattr(text, "__UNSAFE__", False))


@cache
def _trusted() -> Callable[[Any], bool] | None:
    try:
        from ansible._internal._datatag._tags import TrustedAsTemplate
    except ImportError:  # before ansible-core 2.19
        return None
    return lambda text: bool(TrustedAsTemplate.is_tagged_on(text))


@cache
def _ciphertext_of() -> Callable[[Any], str | None]:
    try:
        from ansible.parsing.vault import VaultHelper
    except ImportError:  # before ansible-core 2.19
        return lambda _value: None
    return lambda value: VaultHelper.get_ciphertext(value, with_tags=False)
