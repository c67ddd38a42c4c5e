# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand the vault passwords of ansible-playbook to a child ansible-playbook.

The parent has them in memory, wherever they came from: a prompt, a file, a script or a pipe. The child reads each from
a pipe, so no password is in an argument, in the environment or on a disk, and nobody is asked again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .._core.errors import ImmutableError

_NOT_ASKED = {"ANSIBLE_ASK_VAULT_PASS": "false", "ANSIBLE_ASK_PASS": "false", "ANSIBLE_BECOME_ASK_PASS": "false"}
_IDENTITIES, _FILE = "ANSIBLE_VAULT_IDENTITY_LIST", "ANSIBLE_VAULT_PASSWORD_FILE"


@dataclass(frozen=True)
class VaultPassword:
    """One password. ``label`` is its vault id."""

    label: str
    password: bytes = field(repr=False)
    # Whether the configuration names its file. The child must not look for this file again.
    configured: bool = False


@dataclass(frozen=True)
class PassedPasswords:
    """How the child gets the passwords.

    Attributes:
        descriptors: to inherit, by their own numbers.
        environment: for the child, like ``arguments``. They name no file but the descriptors.
    """

    descriptors: tuple[int, ...]
    environment: Mapping[str, str]
    arguments: tuple[str, ...]


@contextmanager
def passed_passwords(passwords: Sequence[VaultPassword]) -> Iterator[PassedPasswords]:
    """Open a pipe for each password. The child must have been started before the end of the context.

    Raises ImmutableError for a password that does not fit into a pipe.
    """
    descriptors: list[int] = []
    try:
        environment = dict(_NOT_ASKED)
        identities, arguments = [], []
        for each in passwords:
            descriptors.append(_pipe_with(each))
            identity = f"{each.label}@/dev/fd/{descriptors[-1]}"
            if "," in each.label:  # in the environment, a comma ends an identity
                arguments += ["--vault-id", identity]
            else:
                identities.append(identity)
        if identities:
            environment[_IDENTITIES] = ",".join(identities)
        configured = next((each for each in passwords if each.configured), None)
        if configured is not None:
            descriptors.append(_pipe_with(configured))
            environment[_FILE] = f"/dev/fd/{descriptors[-1]}"
        yield PassedPasswords(tuple(descriptors), environment, tuple(arguments))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def without_vault_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the vault settings of the parent, whose relative paths mean other files."""
    return {name: value for name, value in environment.items() if name not in (_IDENTITIES, _FILE)}


def _pipe_with(password: VaultPassword) -> int:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        if os.write(writer, password.password) < len(password.password):
            raise BlockingIOError
    except BlockingIOError:
        os.close(reader)
        raise ImmutableError(
            f"the vault password of {password.label} has {len(password.password)} bytes, more than a pipe can hold; "
            "use a shorter password"
        ) from None
    finally:
        os.close(writer)
    return reader
