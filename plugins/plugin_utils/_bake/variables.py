# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of a bake, split into what may travel in the payload and what may not.

Vaulted values are decrypted here, on the controller, so that no vault password ever reaches a guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .._core.errors import BakeError
from .._definition.model import Definition, Vaulted

_SHORTEST_LINE = 8  # characters of a line of a secret that is redacted by itself


class Loader(Protocol):
    """The part of Ansible's DataLoader that is used; it holds the vault secrets."""

    def load(self, data: str, *, show_content: bool = ...) -> Any: ...

    def load_from_file(self, file_name: str) -> Any: ...


@dataclass(frozen=True)
class BakeVariables:
    """``plain`` and ``secret`` are extra variables (JSON data) by name; a name is in one of them only.

    ``values`` are the decrypted texts, by where they came from, for redaction and for the residue audit.
    """

    plain: Mapping[str, Any]
    secret: Mapping[str, Any] = field(repr=False)
    values: Mapping[str, str] = field(repr=False)


def bake_variables(definition: Definition, loader: Loader) -> BakeVariables:
    """Read and decrypt all variables of the provision; later files win over earlier ones, ``vars`` over files.

    Raises BakeError where something cannot be decrypted or is no dictionary.
    """
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    values: dict[str, dict[str, str]] = {}
    sources = [_of_file(definition.folder / name, name, loader) for name in definition.provision.vars_files]
    sources.append((definition.provision.vars, False))
    for variables, all_secret in sources:
        for name, value in variables.items():
            found: dict[str, str] = {}
            data = _plain(value, f"variable {name}", all_secret, loader, found)
            plain.pop(name, None)
            secret.pop(name, None)
            values[name] = found
            (secret if found or all_secret else plain)[name] = data
    return BakeVariables(plain, secret, {place: text for found in values.values() for place, text in found.items()})


def _of_file(path: Path, name: str, loader: Loader) -> tuple[Mapping[str, Any], bool]:
    try:
        with path.open("rb") as file:
            vaulted = file.read(14) == b"$ANSIBLE_VAULT"
        data = loader.load_from_file(str(path))
    except Exception as error:  # noqa: BLE001 - Ansible's errors differ between its versions
        raise BakeError(f"{name} cannot be read: {_first_line(error)}") from error
    if not isinstance(data, Mapping):
        raise BakeError(f"{name} must hold variables (name: value)")
    return data, vaulted


def _plain(value: Any, place: str, secret: bool, loader: Loader, found: dict[str, str]) -> Any:
    """JSON data of ``value``; every decrypted text (every text where ``secret``) is added to ``found``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part, f"{place}.{key}", secret, loader, found) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, f"{place}[{index}]", secret, loader, found) for index, part in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    encrypted = isinstance(value, Vaulted) or hasattr(value, "_ciphertext")  # so in all versions of Ansible
    text = _decrypted(value, place, loader) if encrypted else str(value)
    if secret or encrypted:
        found[place] = text
    return text


def _decrypted(value: Any, place: str, loader: Loader) -> str:
    try:
        if isinstance(value, Vaulted):
            lines = "".join(f"  {line}\n" for line in value.ciphertext.strip().splitlines())
            value = loader.load(f"value: !vault |\n{lines}", show_content=False)["value"]
        return str(value)
    except Exception as error:  # noqa: BLE001 - as above
        raise BakeError(
            f"{place} cannot be decrypted: {_first_line(error)} (give ansible-playbook its vault id)"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def texts_of(secrets: Mapping[str, str]) -> Iterator[str]:
    """Every secret text, and its lines: a log is redacted line by line."""
    for text in secrets.values():
        yield text
        if "\n" in text:
            yield from (line for line in text.splitlines() if len(line) >= _SHORTEST_LINE)
