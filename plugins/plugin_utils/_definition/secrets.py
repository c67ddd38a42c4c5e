# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the secrets of a target when an instance is launched. A definition only says where they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._core.errors import FleetError
from .._core.vaulted import decrypted
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

        Raises FleetError if secrets are missing. It names every missing one and no value.
        """
        found, missing = {}, []
        parameters = [reference.name for reference in references.values() if reference.kind == SSM]
        pinned = self.pin(parameters) if parameters and self.pin else {}
        for name, reference in references.items():
            if reference.kind == SSM and reference.name in pinned:
                found[name] = pinned[reference.name]
            elif reference.kind == "env" and reference.name in os.environ:
                found[name] = os.environ[reference.name]
            elif reference.kind == "variable" and reference.name in self.variables:
                found[name] = _text(self.template(self.variables[reference.name]))
            else:
                kind = _KIND_NAMES[reference.kind]
                missing.append(f"{name} (there is no {kind} {reference.name})")
        if missing:
            raise FleetError(f"secrets are missing: {', '.join(missing)}")
        return found


def _text(value: Any) -> str:
    """The value of a variable as a host gets it: a mapping or a list as JSON."""
    plain = decrypted(value)
    return json.dumps(plain) if isinstance(plain, (dict, list)) else str(plain)
