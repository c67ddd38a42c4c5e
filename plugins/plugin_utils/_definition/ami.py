# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Convert between the AMI reference of a definition and its form as one line of text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SSM = "ssm:"
_SEPARATOR = "/"


@dataclass(frozen=True)
class AmiReference:
    """An AMI: its ID, an SSM parameter that holds its ID, or its owner and name. Only one of the three is set."""

    ami: str = ""  # an ID
    parameter: str = ""  # name of an SSM parameter
    owner: str = ""  # account ID, or amazon, aws-marketplace or self
    name: str = ""  # with * and ? as wildcards


def ami_source(data: Mapping[str, str]) -> str:
    """Return ``ssm:<parameter>`` or ``<owner>/<name>`` for the mapping in a definition."""
    return f"{_SSM}{data['ssm']}" if "ssm" in data else f"{data['owner']}{_SEPARATOR}{data['name']}"


def ami_reference(source: str) -> AmiReference:
    """Return the reference that a base's ``source`` contains: an ID, or a text that ``ami_source`` returned."""
    if source.startswith(_SSM):
        return AmiReference(parameter=source.removeprefix(_SSM))
    owner, named, name = source.partition(_SEPARATOR)
    return AmiReference(owner=owner, name=name) if named else AmiReference(ami=source)
