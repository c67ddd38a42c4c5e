# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses the output of ``packer inspect``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from .events import Event, Raw, TemplateBuilder, TemplateVariable, Ui

_VARIABLE = re.compile(r"^var\.([^:]+): (.*)$")
_ITEM = re.compile(r"^( *)(?:> )?(.+?):?$")


@dataclass(frozen=True)
class Variable:
    """A variable. ``default`` is text as Packer shows it, or None if there is none or it is sensitive."""

    name: str
    default: str | None
    required: bool
    sensitive: bool


@dataclass
class Inspection:
    """A template's ``variables``, and its ``builds`` with the names that ``only`` takes."""

    variables: list[Variable] = field(default_factory=list)
    builds: list[str] = field(default_factory=list)


def parse_inspection(events: Iterable[Event], sensitive: Collection[str] = ()) -> Inspection:
    """Return what ``packer inspect`` reports about an HCL2 or JSON template.

    Args:
        sensitive: names of the variables that the template declares sensitive.
    """
    inspection = Inspection()
    text = ""
    for event in events:
        if isinstance(event, TemplateVariable):
            inspection.variables.append(_variable(event.name, event.default, event.required))
        elif isinstance(event, TemplateBuilder):
            inspection.builds.append(event.name)
        elif isinstance(event, (Ui, Raw)):
            text += event.text + "\n"
    if text.startswith("Packer Inspect: HCL2 mode"):
        _parse_hcl2(text, inspection)
    variables = [
        replace(variable, sensitive=True, default=None) if variable.name in sensitive else variable
        for variable in inspection.variables
    ]
    inspection.variables = sorted(variables, key=lambda variable: variable.name)
    return inspection


def _parse_hcl2(text: str, inspection: Inspection) -> None:
    build, section = "", ""
    for line in filter(None, text.split("\n")):
        variable = _VARIABLE.match(line)
        item = _ITEM.match(line)
        if variable:
            shown = _unquoted(variable.group(2))
            inspection.variables.append(_variable(variable.group(1), shown, shown == "<unknown>"))
        elif item and line.startswith("  > "):
            build = "" if item.group(2).startswith("<unnamed build") else item.group(2) + "."
        elif item and len(item.group(1)) == 4:
            section = item.group(2)
        elif item and len(item.group(1)) == 6 and section == "sources":
            inspection.builds.append(build + item.group(2))


def _unquoted(shown: str) -> str:
    try:
        return str(json.loads(shown))
    except (ValueError, RecursionError):  # Go's quoting differs from JSON in rare cases
        return shown.strip('"')


def _variable(name: str, default: str, required: bool) -> Variable:
    sensitive = default == "<sensitive>"
    return Variable(
        name=name,
        default=None if required or sensitive else default,
        required=required,
        sensitive=sensitive,
    )
