# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a target's provider must be able to do for the rest of the definition."""
from __future__ import annotations

import json

from .document import Document, targets_of, value_at

TYPES = {"qemu": ("qcow2", "raw")}  # of volumes; a provider that is not named takes any word
ZONELESS = ("qemu",)


def check_targets(document: Document) -> None:
    """Add a problem for everything that a target says, or is asked for, in vain."""
    closed = value_at(document.data, ("seal", "shell")) == "off"
    for name in targets_of(document.data):
        place = ("targets", name)
        provider = value_at(document.data, (*place, "provider"))
        if closed and value_at(document.data, (*place, "authorized_key")) is not None:
            document.problem((*place, "authorized_key"), "nobody can log in where seal.shell is off (allowed: leave it out)")
        if provider in ZONELESS and value_at(document.data, (*place, "zones")) is not None:
            document.problem((*place, "zones"), f"the provider {provider} has no zones (allowed: leave it out)")
        if isinstance(provider, str) and provider != "simulated" and value_at(document.data, (*place, "simulation")) is not None:
            document.problem((*place, "simulation"), f"the provider {provider} runs real machines (allowed: leave it out, or provider: simulated)")
        if isinstance(provider, str) and provider in TYPES:
            _check_types(document, name, provider)


def _check_types(document: Document, target: str, provider: str) -> None:
    volumes = value_at(document.data, ("data",))
    for number in range(len(volumes) if isinstance(volumes, list) else 0):
        place = ("data", number, "type")
        kind = value_at(document.data, place)
        if isinstance(kind, str) and kind not in TYPES[provider]:
            why = f"is no type of volume on target {target}, whose provider is {provider}"
            document.problem(place, f"{json.dumps(kind)} {why} (allowed: {', '.join(TYPES[provider])})")
