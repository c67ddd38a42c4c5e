# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a build is called. Later Packers say ``file.image`` of a JSON template's builder ``image``, yet ``only`` still takes ``image``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .variables import is_hcl2

Rename = Callable[[str], str]


def as_said(name: str) -> str:
    return name


def renaming(template: str) -> Rename:
    """From the name of a build as Packer says it to the one that ``only`` takes."""
    builders = [] if is_hcl2(template) else _builders(template)
    named = {f"{kind}.{name}": name for kind, name in builders}
    # A name with a function or variable in it is known only by its type.
    computed = [f"{kind}." for kind, name in builders if "{{" in name]
    if not named:
        return as_said

    def rename(name: str) -> str:
        return named.get(name) or next((name[len(prefix) :] for prefix in computed if name.startswith(prefix)), name)

    return rename


def _builders(template: str) -> list[tuple[str, str]]:
    """Type and name of each builder that was given a name. Of what is no template Packer tells itself."""
    try:
        with open(template, encoding="utf-8") as file:
            document: Any = json.load(file)
    except (OSError, ValueError):
        return []
    found = document.get("builders") if isinstance(document, Mapping) else None
    builders = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    return [
        (one["type"], one["name"])
        for one in builders
        if isinstance(one.get("type"), str) and isinstance(one.get("name"), str)
    ]
