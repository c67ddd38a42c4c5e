# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the secrets of a target when an instance is launched. A definition only says where they are."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from .._core.errors import FleetError
from .._core.vaulted import decrypted, is_encrypted
from .launch import SSM
from .model import SecretKind, SecretRef

# Takes references by name. Returns secrets in clear text; for an SSM parameter, which the host reads itself, the
# parameter's name and version. Raises FleetError.
ResolveSecrets = Callable[[Mapping[str, SecretRef]], Mapping[str, str]]
_KIND_NAMES: dict[SecretKind, str] = {
    "env": "environment variable",
    "variable": "Ansible variable",
    SSM: "SSM parameter",
}


@dataclass(frozen=True)
class SecretFinder:
    """Finds the values of references: in the environment, in Ansible variables and, by their versions only, in SSM."""

    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)  # Ansible variables by name
    template: Callable[[Any], Any] = str  # resolves Jinja2 in the value of a variable
    # From the provider: SSM parameters with their versions, by name. None if the provider has no SSM.
    pin: Callable[[Sequence[str]], Mapping[str, str]] | None = None

    def __call__(self, references: Mapping[str, SecretRef]) -> dict[str, str]:
        """Return the secrets by the names of their references.

        Raises FleetError if secrets are missing, or would not arrive as they are written. It names all of them and no
        value.
        """
        found, missing, refused = {}, [], []
        parameters = [reference.name for reference in references.values() if reference.kind == SSM]
        pinned = self.pin(parameters) if parameters and self.pin else {}
        for name, reference in references.items():
            if reference.kind == SSM and reference.name in pinned:
                found[name] = pinned[reference.name]
            elif reference.kind == "env" and reference.name in os.environ:
                found[name] = os.environ[reference.name]
            elif reference.kind == "variable" and reference.name in self.variables:
                try:
                    found[name] = _text(self.template(self.variables[reference.name]))
                except ValueError as error:
                    refused.append(f"{name} (the Ansible variable {reference.name} {error})")
            else:
                kind = _KIND_NAMES[reference.kind]
                missing.append(f"{name} (there is no {kind} {reference.name})")
        if missing:
            raise FleetError(f"secrets are missing: {', '.join(missing)}")
        if refused:
            raise FleetError(f"secrets would not arrive as they are written: {', '.join(refused)}")
        return found


def _text(value: Any) -> str:
    """The value of a variable as a host gets it: a mapping or a list as JSON.

    Raises ValueError for any other value than text and integers, whose text Ansible no longer knows: ``1.10`` is 1.1,
    and ``true`` would be ``True``.
    """
    plain = decrypted(value)
    if isinstance(plain, (dict, list)):
        _check_json(value)
        return json.dumps(plain)
    if not isinstance(plain, str) and (isinstance(plain, bool) or not isinstance(plain, int)):
        raise ValueError(f"is {_kind(plain)}; put it in quotes")
    text = str(plain)
    _check_unicode(text)
    return text


def _check_json(value: Any) -> None:
    """Raise ValueError for a value inside a mapping or a list that JSON does not have."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str) and (isinstance(key, bool) or not isinstance(key, int)):
                raise ValueError(f"has a key that is {_kind(key)}; put it in quotes")
            _check_json(str(key))
            _check_json(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check_json(part)
    elif isinstance(value, str):
        _check_unicode(value)
    elif (isinstance(value, float) and not math.isfinite(value)) or not (
        value is None or isinstance(value, (bool, int, float)) or is_encrypted(value)
    ):
        raise ValueError(f"contains {_kind(value)}, which JSON does not have; put it in quotes")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode") from None


def _kind(value: Any) -> str:
    kinds = ((bool, "a boolean"), (float, "a number with a fraction"), (date, "a date"), (bytes, "bytes"))
    return "null" if value is None else next((name for kind, name in kinds if isinstance(value, kind)), "no text")
