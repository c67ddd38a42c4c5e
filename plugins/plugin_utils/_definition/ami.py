# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a definition names the machine image of AWS that it bakes on, as one line of text and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SSM = "ssm:"
_SEPARATOR = "/"


@dataclass(frozen=True)
class AmiReference:
    """Exactly one of ``ami``, ``parameter``, and ``owner`` with ``name`` is given."""

    ami: str = ""
    parameter: str = ""  # of SSM
    owner: str = ""
    name: str = ""  # with * and ? as wildcards


def ami_source(data: Mapping[str, str]) -> str:
    """``ssm:<parameter>`` or ``<owner>/<name>`` of a definition's mapping."""
    return f"{_SSM}{data['ssm']}" if "ssm" in data else f"{data['owner']}{_SEPARATOR}{data['name']}"


def ami_reference(source: str) -> AmiReference:
    """What ``source`` of a base stands for: an id, or a text of ``ami_source``."""
    if source.startswith(_SSM):
        return AmiReference(parameter=source.removeprefix(_SSM))
    owner, named, name = source.partition(_SEPARATOR)
    return AmiReference(owner=owner, name=name) if named else AmiReference(ami=source)
