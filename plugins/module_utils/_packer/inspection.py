# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ``packer inspect`` tells of a template."""

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
    """A variable. ``default`` is text as Packer shows it, None where there is none or it is sensitive."""

    name: str
    default: str | None
    required: bool
    sensitive: bool


@dataclass
class Inspection:
    """A template's ``variables`` and ``builds``, the latter by the names that ``only`` takes."""

    variables: list[Variable] = field(default_factory=list)
    builds: list[str] = field(default_factory=list)


def read(events: Iterable[Event], sensitive: Collection[str] = ()) -> Inspection:
    """From the events of ``packer inspect``, of either kind of template. ``sensitive`` names variables that the template says so of."""
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
        _read_hcl2(text, inspection)
    known = [
        replace(one, sensitive=True, default=None) if one.name in sensitive else one for one in inspection.variables
    ]
    inspection.variables = sorted(known, key=lambda variable: variable.name)
    return inspection


def _read_hcl2(text: str, inspection: Inspection) -> None:
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
    except ValueError:  # Go quotes a little differently; then as it is
        return shown.strip('"')


def _variable(name: str, default: str, required: bool) -> Variable:
    sensitive = default == "<sensitive>"
    return Variable(name, None if required or sensitive else default, required, sensitive)
