# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses the output of ``packer inspect``."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from .events import Event, Raw, TemplateBuilder, TemplateVariable, Ui
from .local_names import UsedSource

_HEADING = "Packer Inspect: HCL2 mode\n"
_VARIABLE = re.compile(r"^var\.([^:]+): (.*)$", re.MULTILINE)
# Empty lines are not events. A description may contain any lines, also such that look like another build.
_BUILD = re.compile(
    r"^  > (?P<name>.*):\n(?:  > Description: (?:.*\n)*?)?    sources:\n(?P<sources>(?:      \S.*\n)+)"
    r"    provisioners:\n(?:      \S.*\n)+    post-processors:\n",
    re.MULTILINE,
)
_NO_SOURCE = "<no source>"
_USER_VARIABLE = re.compile(r"\{\{\s*user\s+[`\"]([^`\"]+)[`\"]\s*\}\}")


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


def parse_inspection(
    events: Iterable[Event], sensitive: Collection[str] = (), used: Sequence[Sequence[UsedSource]] = ()
) -> Inspection:
    """Return what ``packer inspect`` reports about an HCL2 or JSON template.

    Args:
        sensitive: names of the variables that the template declares sensitive.
        used: see ``used_sources``.
    """
    inspection = Inspection()
    text = ""
    for event in events:
        if isinstance(event, TemplateVariable):
            inspection.variables.append(_variable(event.name, event.default, event.required))
        elif isinstance(event, TemplateBuilder):
            inspection.builds.append(event.name)
        elif isinstance(event, (Ui, Raw)):
            text += event.text.strip("\n") + "\n"
    _before, heading, contents = text.partition(_HEADING)  # Packer may print warnings before it
    if heading:
        _parse_hcl2(contents, inspection, used)
    variables = [
        replace(variable, sensitive=True, default=None) if variable.name in sensitive else variable
        for variable in inspection.variables
    ]
    inspection.variables = sorted(variables, key=lambda variable: variable.name)
    if not heading:
        inspection.builds = [_rendered(name, variables) for name in inspection.builds]
    return inspection


def _parse_hcl2(text: str, inspection: Inspection, used: Sequence[Sequence[UsedSource]]) -> None:
    variables, _heading, builds = text.partition("> builds:\n")
    for variable in _VARIABLE.finditer(variables):
        shown = _unquoted(variable.group(2))
        inspection.variables.append(_variable(variable.group(1), shown, shown == "<unknown>"))
    for number, build in enumerate(_BUILD.finditer(builds)):
        name = build.group("name")
        prefix = "" if name == f"<unnamed build {number}>" else name + "."
        reported = [source.strip() for source in build.group("sources").splitlines()]
        if reported == [_NO_SOURCE]:
            continue
        names = _named(reported, used[number] if number < len(used) else ())
        inspection.builds += [_pattern(prefix + source) for source in names]


def _named(reported: Sequence[str], blocks: Sequence[UsedSource]) -> list[str]:
    """The sources of a build by the names that it gives to them.

    The sources without a block are first. Where the blocks are not those that Packer reports, Packer is right.
    """
    first = len(reported) - len(blocks)
    if first < 0:
        return list(reported)
    renamed = [used.build if source == used.source else source for source, used in zip(reported[first:], blocks)]
    return [*reported[:first], *renamed]


def _pattern(name: str) -> str:
    """The pattern that matches only this name: ``only`` takes patterns, separated by commas."""
    return re.sub(r"([*?\\\[\]{}])", r"\\\1", name).replace(",", "?")


def _rendered(name: str, variables: Iterable[Variable]) -> str:
    """The name of a JSON template's build with the defaults of its variables, as ``only`` takes it.

    Packer reports the name as the template writes it. A default that is computed or missing is known to a build only.
    """
    defaults = {variable.name: variable.default for variable in variables}

    def value(found: re.Match[str]) -> str:
        default = defaults.get(found.group(1))
        return found.group(0) if default is None or "{{" in default else default

    return _USER_VARIABLE.sub(value, name)


def _unquoted(shown: str) -> str:
    """The text that Go's ``%q`` quotes. Its escapes are among those of Python."""
    try:
        return str(ast.literal_eval(shown)) if shown.startswith('"') else shown
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return shown.strip('"')


def _variable(name: str, default: str, required: bool) -> Variable:
    sensitive = default == "<sensitive>"
    return Variable(
        name=name,
        default=None if required or sensitive else default,
        required=required,
        sensitive=sensitive,
    )
