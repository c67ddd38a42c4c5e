# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Draw a recorded terminal session as one small animated SVG, without anything else than this file.

A recording is an asciicast of version 2 (https://docs.asciinema.org/manual/asciicast/v2/): a header, then events with
their time in seconds, ``"o"`` and the output. The drawing is one long list of lines that moves up as lines appear, so
it needs no frames.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

ROWS = 26  # that are visible
LONGEST_PAUSE, LONGEST, HOLD = 0.7, 45.0, 6.0  # seconds: between two lines, of all lines, and at the end
_CELL, _LINE, _EDGE = 7.8, 17, 14  # pixels
_TOKEN = re.compile(
    r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|([\r\n\t\b])|([^\x00-\x1f\x7f]+)"
)
_COLORS = dict(zip(range(30, 38), ("k", "r", "g", "y", "b", "m", "c", "w"), strict=True))
_STYLE = """
.t{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#24292f}.t text{white-space:pre}
.f{fill:#f6f8fa;stroke:#d0d7de}.k,.w{fill:#57606a}.r{fill:#cf222e}.g{fill:#116329}.y{fill:#7d4e00}.b{fill:#0550ae}
.m{fill:#8250df}.c{fill:#1b7c83}.x{font-weight:700}
@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.f{fill:#161b22;stroke:#30363d}.k,.w{fill:#9198a1}.r{fill:#ff7b72}
.g{fill:#56d364}.y{fill:#e3b341}.b{fill:#79c0ff}.m{fill:#d2a8ff}.c{fill:#76e3ea}}
"""


@dataclass
class Line:
    """A line of the session: its characters with their classes, and when it was last written to."""

    at: float = 0.0
    cells: list[tuple[str, str]] = field(default_factory=list)


def cast_of(events: Iterable[tuple[float, str]], width: int, height: int, title: str) -> str:
    """Return a recording as text."""
    header = {"version": 2, "width": width, "height": height, "title": title}
    rows = [header, *([round(at, 3), "o", text] for at, text in events)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def without_names(text: str, names: Mapping[str, str]) -> str:
    """Return a text with other words for names of the machine that recorded it, the longest names first."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", names[name], text)
    return text


def lines_of(cast: str) -> tuple[list[Line], int, str]:
    """Return the lines of a recording, its width in columns and its title. Raises ValueError for other texts."""
    header, *events = [json.loads(row) for row in cast.splitlines() if row.strip()]
    if header.get("version") != 2:
        raise ValueError("it is no asciicast of version 2")
    screen = _Screen(int(header["width"]))
    for at, kind, text in events:
        if kind == "o":
            screen.write(float(at), text)
    return screen.lines, screen.width, str(header.get("title", ""))


class _Screen:
    """The lines of a terminal that scrolls. A line that is written again has the last text."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines = [Line()]
        self._column = 0
        self._color = self._bold = ""

    def write(self, at: float, text: str) -> None:
        for found in _TOKEN.finditer(text):
            numbers, command, control, plain = found.groups()
            if command == "m":
                self._style(numbers)
            elif command == "K":
                del self.lines[-1].cells[0 if numbers == "2" else self._column :]
            elif control == "\n":
                self._new_line(at)
            elif control:
                self._column = 0 if control == "\r" else self._column
            for char in plain or ("    " if control == "\t" else ""):
                self._put(at, char)

    def _put(self, at: float, char: str) -> None:
        if self._column >= self.width:
            self._new_line(at)
        line = self.lines[-1]
        line.at = at
        line.cells += [(" ", "")] * (self._column - len(line.cells))
        line.cells[self._column : self._column + 1] = [(char, f"{self._color} {self._bold}".strip())]
        self._column += 1

    def _new_line(self, at: float) -> None:
        self.lines.append(Line(at))
        self._column = 0

    def _style(self, numbers: str) -> None:
        for number in (int(each or 0) for each in numbers.split(";") if (each or "0").isdecimal()):
            if number in (0, 39):
                self._color = ""
            self._bold = "" if number in (0, 22) else "x" if number == 1 else self._bold
            self._color = _COLORS.get(number, _COLORS.get(number - 60, self._color))


def picture(cast: str) -> str:
    """Return the drawing of a recording. It is still where people prefer that, and then shows the end."""
    lines, columns, title = lines_of(cast)
    while lines and not lines[-1].cells:
        lines.pop()
    rows = min(ROWS, len(lines))
    width, height = round(columns * _CELL) + 2 * _EDGE, rows * _LINE + 2 * _EDGE
    times = _times([line.at for line in lines])
    whole = (times[-1] if times else 0.0) + HOLD
    steps = [
        f"{100 * at / whole:.2f}%{{transform:translateY({(rows - count) * _LINE}px)}}" for count, at in _shown(times)
    ]
    end = f"transform:translateY({(rows - len(lines)) * _LINE}px)"
    style = (
        f"{_STYLE}.s{{{end};animation:s {whole:.1f}s step-end infinite}}@keyframes s{{{''.join(steps)}}}"
        "@media(prefers-reduced-motion:reduce){.s{animation:none}}"
    )
    texts = "".join(
        f'<text x="{_EDGE}" y="{_EDGE + (number + 1) * _LINE - 5}">{_spans(line)}</text>'
        for number, line in enumerate(lines)
        if line.cells
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        f'<clipPath id="v"><rect x="0" y="{_EDGE}" width="{width}" height="{rows * _LINE}"/></clipPath>'
        f'<rect class="f" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>'
        f'<g clip-path="url(#v)"><g class="s t" xml:space="preserve">{texts}</g></g></svg>\n'
    )


def _times(given: list[float]) -> list[float]:
    """When each line appears: in their order, without long pauses, and not longer than ``LONGEST`` together."""
    found, now, before = [], 0.0, given[0] if given else 0.0
    for at in given:
        now += min(max(0.0, at - before), LONGEST_PAUSE)
        before = max(before, at)
        found.append(now)
    factor = min(1.0, LONGEST / found[-1]) if found and found[-1] else 1.0
    return [at * factor for at in found]


def _shown(times: list[float]) -> list[tuple[int, float]]:
    """How many lines are shown from when on. Lines that appear together are one step."""
    steps: dict[float, int] = {}
    for count, at in enumerate(times, start=1):
        steps[round(at, 1)] = count
    return [(count, at) for at, count in steps.items()]


def _spans(line: Line) -> str:
    parts: list[tuple[str, str]] = []
    for char, kind in line.cells:
        if parts and parts[-1][1] == kind:
            parts[-1] = (parts[-1][0] + char, kind)
        else:
            parts.append((char, kind))
    if parts:
        parts[-1] = (parts[-1][0].rstrip(), parts[-1][1])
    return "".join(
        f'<tspan class="{kind}">{escape(text, quote=False)}</tspan>' if kind else escape(text, quote=False)
        for text, kind in parts
    )
