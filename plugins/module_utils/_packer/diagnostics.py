# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds out where a template is wrong. Packer reports it only as text, not in its machine-readable output."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

from .._bounded import shortened
from .events import Event, Ui

Severity = Literal["error", "warning"]
MAX_DIAGNOSTICS = 100  # further ones are in the output
_START = re.compile(r"^(?:(Error|Warning): )", re.MULTILINE)
_HCL_POSITION = re.compile(r"^  on (?P<file>.+?) line (?P<line>\d+)(?:, in .*)?:$", re.MULTILINE)
_JSON_POSITION = re.compile(r"At line (?P<line>\d+), column (?P<column>\d+)")
_ADVICE_END = "Original error: "  # newer Packers guess before it that the template might be HCL2
_BULLET = re.compile(r"^\s*\* (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Diagnostic:
    """One problem of a template.

    Attributes:
        file: '' if Packer does not name one.
        line: from 1; 0 if Packer does not name one.
    """

    severity: Severity
    summary: str
    detail: str
    file: str
    line: int


def diagnostics(events: Iterable[Event], template: str) -> list[Diagnostic]:
    """Return the problems among the events, each once, in Packer's order, at most ``MAX_DIAGNOSTICS``.

    Args:
        template: the file to name for problems of a JSON template.
    """
    found: list[Diagnostic] = []
    for event in events:
        if isinstance(event, Ui) and (event.level == "error" or _START.match(event.text)):
            new = (_shortened(diagnostic) for diagnostic in _parse(event.text, template))
            found.extend(diagnostic for diagnostic in new if diagnostic not in found)
    return found[:MAX_DIAGNOSTICS]


def _shortened(diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, summary=shortened(diagnostic.summary), detail=shortened(diagnostic.detail))


def _parse(text: str, template: str) -> Iterable[Diagnostic]:
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        yield from _parse_legacy(text, template)
    for start, end in zip(starts, [*starts[1:], len(text)]):
        severity, _colon, block = text[start:end].partition(": ")
        if not block.partition("\n")[0].strip():  # several problems in the older format below an empty heading
            yield from _parse_legacy(block, template)
            continue
        summary, _newline, detail = block.partition("\n")
        position = _HCL_POSITION.search(detail)
        yield Diagnostic(
            severity=cast("Severity", severity.lower()),
            summary=summary.strip(),
            detail=detail.strip(),
            file=position.group("file") if position else "",
            line=int(position.group("line")) if position else 0,
        )


def _parse_legacy(text: str, template: str) -> Iterable[Diagnostic]:
    text = text.partition(_ADVICE_END)[2] or text
    position = _JSON_POSITION.search(text)
    file, line = (template, int(position.group("line"))) if position else ("", 0)
    problems = [(bullet, "") for bullet in _BULLET.findall(text)]
    if not problems and text.strip():
        summary, _newline, detail = text.strip().partition("\n")
        problems = [(summary, detail)]
    for summary, detail in problems:
        yield Diagnostic(severity="error", summary=summary.strip(), detail=detail.strip(), file=file, line=line)
