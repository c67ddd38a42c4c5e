# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How variables and secrets reach Packer: never by its arguments, which every user of the machine can read."""

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
    """Packer's own rule: a folder or one of two suffixes; anything else is a JSON template of the older kind."""
    return os.path.isdir(template) or template.endswith(HCL2_SUFFIXES)


@dataclass
class Handover:
    """``arguments`` and ``environment`` for Packer. ``folder`` (readable by this user alone) is to be removed after the run."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = ""


def hand_over(template: str, variables: Mapping[str, Any], secrets: Mapping[str, Any]) -> Handover:
    """Write what has to be written.

    Plain variables go by a variable file. Secrets go by the environment (``PKR_VAR_name``), or, for a JSON template, which knows
    no such environment, by the variable file as well.

    Raises:
        PackerError: a name in both, or a value that a JSON template cannot take.
    """
    both = sorted(set(variables) & set(secrets))
    if both:
        raise PackerError(f"given in both vars and secrets: {', '.join(both)}; keep each in one of the two")
    handover = Handover()
    in_file = dict(variables)
    if is_hcl2(template):
        handover.environment.update({f"PKR_VAR_{name}": as_text(value) for name, value in secrets.items()})
    else:
        in_file.update(secrets)
        in_file = {name: _legacy_text(name, value) for name, value in in_file.items()}
    if in_file:
        handover.folder = tempfile.mkdtemp(prefix="packer-vars-")  # mode 0700
        path = os.path.join(handover.folder, "vars.pkrvars.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(in_file, file)
        handover.arguments.append(f"-var-file={path}")
    return handover


def as_text(value: Any) -> str:
    """A string as it is; anything else as JSON, which Packer reads as an HCL expression."""
    return value if isinstance(value, str) else json.dumps(value)


def _legacy_text(name: str, value: Any) -> str:
    """JSON templates know only strings; lists are written with commas."""
    if isinstance(value, (list, tuple)) and not any(isinstance(part, (list, tuple, dict)) for part in value):
        return ",".join(as_text(part) for part in value)
    if value is None or isinstance(value, (list, tuple, dict)):
        raise PackerError(f"variable {name}: a JSON template takes strings, numbers, booleans and plain lists only")
    return as_text(value)
