# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names of builds.

For a JSON template's builder ``image`` newer Packers report ``file.image``, but ``only`` still takes ``image``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable  # noqa: UP035  Python 3.8 cannot subscript the one of collections.abc

from .variables import is_hcl2

Rename = Callable[[str], str]


def unchanged(name: str) -> str:
    """Return the name itself."""
    return name


def build_renamer(template: str) -> Rename:
    """Return a function from the name of a build in Packer's output to the name that ``only`` takes."""
    builders = [] if is_hcl2(template) else _named_builders(template)
    names = {f"{kind}.{name}": name for kind, name in builders}
    # A name that contains a function or variable is recognized by its type.
    computed = [f"{kind}." for kind, name in builders if "{{" in name]
    if not names:
        return unchanged

    def rename(name: str) -> str:
        return names.get(name) or next((name[len(prefix) :] for prefix in computed if name.startswith(prefix)), name)

    return rename


def _named_builders(template: str) -> list[tuple[str, str]]:
    """The type and name of each builder that has a name. Packer itself reports a file that is not a template."""
    try:
        with open(template, encoding="utf-8") as file:
            document: Any = json.load(file)
    except (OSError, ValueError):
        return []
    found = document.get("builders") if isinstance(document, Mapping) else None
    builders = [builder for builder in found if isinstance(builder, Mapping)] if isinstance(found, list) else []
    return [
        (builder["type"], builder["name"])
        for builder in builders
        if isinstance(builder.get("type"), str) and isinstance(builder.get("name"), str)
    ]
