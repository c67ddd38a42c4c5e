# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Convert between the reference to a Glance image in a definition and its form as one line of text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

SELF = "self"  # as owner: the project that bakes
IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_READABLE = "*?/:@,;"  # not escaped in the text


@dataclass(frozen=True)
class GlanceReference:
    """A Glance image: its ID, or what the newest image must match. No property is called ``name`` or ``owner``."""

    image: str = ""  # an ID; nothing else is set then
    name: str = ""  # with * and ? as wildcards
    owner: str = ""  # ID of a project, or ``SELF``
    properties: Mapping[str, str] = field(default_factory=dict)


def glance_source(data: Mapping[str, Any]) -> str:
    """Return ``name=...&owner=...&property=value`` for the mapping in a definition."""
    own = [(key, data[key]) for key in ("name", "owner") if key in data]
    return urlencode([*own, *sorted(data.get("properties", {}).items())], safe=_READABLE)


def glance_reference(source: str) -> GlanceReference:
    """Return the reference that a base's ``source`` contains: an ID, or a text that ``glance_source`` returned."""
    if IMAGE_ID.fullmatch(source):
        return GlanceReference(image=source)
    parts = dict(parse_qsl(source, keep_blank_values=True))
    return GlanceReference(name=parts.pop("name", ""), owner=parts.pop("owner", ""), properties=parts)
