# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of a bake, split into those that may be part of the payload and the secret ones.

Vaulted values are decrypted on the controller, so that no vault password reaches a guest. A text of the definition, a
vaulted text and a text tagged ``!unsafe`` are no templates in the guest. Other texts of a file may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from .._core.bounded_yaml import check_bounds
from .._core.errors import BakeError
from .._core.files import open_regular
from .._core.untrusted import marked_text
from .._core.vaulted import is_encrypted, is_unsafe, load_variables
from .._definition.model import Definition, Vaulted

_TEMPLATE = re.compile(r"\{[{%#]")  # what Ansible takes for the start of a template
_MIN_LINE_LENGTH = 8  # shorter lines of a secret are not redacted separately


class Loader(Protocol):
    """The methods of Ansible's DataLoader that are used. It knows the vault secrets."""

    def load(self, data: str, *, show_content: bool = ...) -> Any:
        """Parse YAML or JSON."""

    def load_from_file(self, file_name: str) -> Any:
        """Parse a file."""


@dataclass(frozen=True)
class BakeVariables:
    """Extra variables for the guest.

    Attributes:
        plain: variables (JSON data) by name. A text that must not be a template is marked as Ansible reads it.
        secret: the same for variables that contain a secret. A name is in one of the two.
        values: the decrypted texts by their origin, such as ``variable db.password``, for redaction and for the search
            for residue.
    """

    plain: Mapping[str, Any]
    secret: Mapping[str, Any] = field(repr=False)
    values: Mapping[str, str] = field(repr=False)


def bake_variables(definition: Definition, loader: Loader) -> BakeVariables:
    """Read and decrypt all variables of the provision. Later files override earlier ones, ``vars`` overrides files.

    Raises BakeError for a value that cannot be decrypted or a file that is not a mapping.
    """
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    values: dict[str, dict[str, str]] = {}
    files = [_of_file(definition.folder / name, name, loader) for name in definition.provision.vars_files]
    sources = [(*file, is_unsafe) for file in files] + [(definition.provision.vars, False, lambda _text: True)]
    for variables, all_secret, is_text in sources:
        for name, value in variables.items():
            found: dict[str, str] = {}
            data = _Decryption(loader, all_secret, is_text, found).decrypt(value, f"variable {name}")
            plain.pop(name, None)
            secret.pop(name, None)
            values[name] = found
            (secret if found or all_secret else plain)[name] = data
    return BakeVariables(plain, secret, {origin: text for found in values.values() for origin, text in found.items()})


def _of_file(path: Path, name: str, loader: Loader) -> tuple[Mapping[str, Any], bool]:
    try:
        with open_regular(path) as file:
            vaulted = file.read(14) == b"$ANSIBLE_VAULT"
        if not vaulted:
            check_bounds(path)
        data = load_variables(loader, str(path))
    except Exception as error:  # noqa: BLE001 - Ansible's errors differ between versions
        raise BakeError(f"cannot read {name}: {_first_line(error)}") from error
    if not isinstance(data, Mapping):
        raise BakeError(f"{name} must contain variables (name: value)")
    return data, vaulted


@dataclass(frozen=True)
class _Decryption:
    """Decrypts one variable.

    Attributes:
        all_secret: whether every text is secret, because its file is encrypted.
        is_text: whether a text that is not vaulted is no template.
        found: gets the secret texts by their origin.
    """

    loader: Loader
    all_secret: bool
    is_text: Callable[[str], bool]
    found: dict[str, str]

    def decrypt(self, value: Any, origin: str) -> Any:
        """Return ``value`` as JSON data. Raises BakeError."""
        if isinstance(value, Mapping):
            return {str(key): self.decrypt(part, f"{origin}.{key}") for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.decrypt(part, f"{origin}[{index}]") for index, part in enumerate(value)]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        encrypted = isinstance(value, Vaulted) or is_encrypted(value)
        if not encrypted and not isinstance(value, (str, date)):
            raise BakeError(
                f"{origin} is of the type {type(value).__name__} (allowed: text, numbers, booleans, null, dates, and "
                "lists and mappings of them)"
            )
        text = _decrypted(value, origin, self.loader) if encrypted else str(value)
        if self.all_secret or encrypted:
            self.found[origin] = text
        no_template = encrypted or (isinstance(value, str) and self.is_text(value))
        return marked_text(text) if no_template and _TEMPLATE.search(text) else text


def _decrypted(value: Any, origin: str, loader: Loader) -> str:
    try:
        if isinstance(value, Vaulted):
            lines = "".join(f"  {line}\n" for line in value.ciphertext.strip().splitlines())
            value = loader.load(f"value: !vault |\n{lines}", show_content=False)["value"]
        return str(value)
    except Exception as error:  # noqa: BLE001 - see _of_file
        raise BakeError(
            f"cannot decrypt {origin}: {_first_line(error)} (pass its vault id to ansible-playbook)"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def texts_of(secrets: Mapping[str, str]) -> Iterator[str]:
    """Yield every secret text, and its lines, because logs are redacted line by line."""
    for text in secrets.values():
        yield text
        if "\n" in text:
            yield from (line for line in text.splitlines() if len(line) >= _MIN_LINE_LENGTH)
