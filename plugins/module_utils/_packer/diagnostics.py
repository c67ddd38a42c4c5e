# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a template is wrong, read from what Packer says for people (it has no machine-readable form of it)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .events import Event, Ui

_START = re.compile(r"^(?:(Error|Warning): )", re.MULTILINE)
_HCL_PLACE = re.compile(r"^  on (?P<file>.+?) line (?P<line>\d+)(?:, in .*)?:$", re.MULTILINE)
_JSON_PLACE = re.compile(r"At line (?P<line>\d+), column (?P<column>\d+)")
_ADVICE = "Original error: "  # before it later Packers guess that the template might be HCL2
_BULLET = re.compile(r"^\s*\* (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Diagnostic:
    """One finding. ``severity`` is error or warning; ``file`` is '' and ``line`` (from 1) 0 where Packer names none."""

    severity: str
    summary: str
    detail: str
    file: str
    line: int


def diagnostics(events: Iterable[Event], template: str) -> list[Diagnostic]:
    """Every finding among the events, each once, in Packer's order. ``template`` is the file of a JSON template's mistakes."""
    found: list[Diagnostic] = []
    for event in events:
        if isinstance(event, Ui) and (event.level == "error" or _START.match(event.text)):
            found.extend(one for one in _parse(event.text, template) if one not in found)
    return found


def _parse(text: str, template: str) -> Iterable[Diagnostic]:
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        yield from _legacy(text, template)
    for start, end in zip(starts, [*starts[1:], len(text)]):
        severity, _colon, block = text[start:end].partition(": ")
        if not block.partition("\n")[0].strip():  # several mistakes of the older kind under an empty heading
            yield from _legacy(block, template)
            continue
        summary, _newline, detail = block.partition("\n")
        place = _HCL_PLACE.search(detail)
        where = (place.group("file"), int(place.group("line"))) if place else ("", 0)
        yield Diagnostic(severity.lower(), summary.strip(), detail.strip(), *where)


def _legacy(text: str, template: str) -> Iterable[Diagnostic]:
    text = text.partition(_ADVICE)[2] or text
    place = _JSON_PLACE.search(text)
    file, line = (template, int(place.group("line"))) if place else ("", 0)
    bullets = _BULLET.findall(text)
    for summary in bullets:
        yield Diagnostic("error", summary.strip(), "", file, line)
    if not bullets and text.strip():
        summary, _newline, detail = text.strip().partition("\n")
        yield Diagnostic("error", summary.strip(), detail.strip(), file, line)
