# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passes variables and secrets to Packer. They are not arguments, because every user of the machine can read those."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import PackerError

HCL2_SUFFIXES = (".pkr.hcl", ".pkr.json")


def is_hcl2(template: str) -> bool:
    """Return whether a template is HCL2, by Packer's own rule: a folder, or a file with one of two suffixes.

    Any other file is a JSON template.
    """
    return os.path.isdir(template) or template.endswith(HCL2_SUFFIXES)


@dataclass
class PassedVariables:
    """How Packer gets its variables.

    Attributes:
        arguments: for the command line.
        environment: to add to Packer's environment.
        folder: contains the variable file and is private; remove it after the run. '' if there is none.
    """

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = ""


def pass_variables(template: str, variables: Mapping[str, Any], secrets: Mapping[str, Any]) -> PassedVariables:
    """Write a variable file if one is necessary.

    Plain variables are in the variable file. Secrets are in the environment (``PKR_VAR_name``). JSON templates do not
    support this environment, so their secrets are in the variable file, too.

    Raises:
        PackerError: a name is in both, or a JSON template cannot take a value.
    """
    both = sorted(set(variables) & set(secrets))
    if both:
        raise PackerError(f"in both vars and secrets: {', '.join(both)}; keep each in one of them")
    passed = PassedVariables()
    in_file = dict(variables)
    if is_hcl2(template):
        passed.environment.update({f"PKR_VAR_{name}": as_text(value) for name, value in secrets.items()})
    else:
        in_file.update(secrets)
        in_file = {name: _legacy_text(name, value) for name, value in in_file.items()}
    if in_file:
        passed.folder = tempfile.mkdtemp(prefix="packer-vars-")  # mode 0700
        path = os.path.join(passed.folder, "vars.pkrvars.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(in_file, file)
        passed.arguments.append(f"-var-file={path}")
    return passed


def as_text(value: Any) -> str:
    """Return a string unchanged, and any other value as JSON, which Packer reads as an HCL expression."""
    return value if isinstance(value, str) else json.dumps(value)


def _legacy_text(name: str, value: Any) -> str:
    """The value for a JSON template, which supports only strings. Lists are joined by commas."""
    if isinstance(value, (list, tuple)) and not any(isinstance(part, (list, tuple, dict)) for part in value):
        return ",".join(as_text(part) for part in value)
    if value is None or isinstance(value, (list, tuple, dict)):
        raise PackerError(f"variable {name}: a JSON template takes only strings, numbers, booleans and lists of them")
    return as_text(value)
